"""The settings as they stand now: parts keep a view, and read from it when they need a value."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

from kairos.config import Section, Settings

log = logging.getLogger(__name__)

OnChange = Callable[[Settings], Awaitable[None] | None]
"""Told the settings that hold from now on. What it raises is shown as this replica's error."""


class LiveSettings:
    """Holds the settings in force, and tells those who made something of them when they change."""

    def __init__(self, settings: Settings) -> None:
        self.now = settings
        self._hooks: list[OnChange] = []

    @property
    def view(self) -> Settings:
        """Reads like `Settings`, and so do its sections; each read gives the present value."""
        return cast(Settings, _View(lambda: self.now))

    def on_change(self, hook: OnChange) -> None:
        """For what is made of settings once and kept, such as a pool of a size. A value read when it is used needs no
        hook."""
        self._hooks.append(hook)

    async def take(self, settings: Settings) -> None:
        """These hold from now on. Where a hook fails the former ones do again, and its error is raised."""
        before, self.now = self.now, settings
        try:
            for hook in self._hooks:
                await _tell(hook, settings)
        except Exception:
            self.now = before
            for hook in self._hooks:
                try:
                    await _tell(hook, before)
                except Exception:
                    log.exception("the former configuration is not taken back everywhere")
            raise


async def _tell(hook: OnChange, settings: Settings) -> None:
    told = hook(settings)
    if inspect.isawaitable(told):
        await told


class _View:
    """Stands for an object that is replaced when the settings change."""

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[], Any]) -> None:
        self._read = read

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._read(), name)
        return _View(lambda: getattr(self._read(), name)) if isinstance(value, Section) else value
