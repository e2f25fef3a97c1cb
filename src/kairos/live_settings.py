"""The current settings. Components hold a view and read values from it on each use."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

from kairos.config import Section, Settings

log = logging.getLogger(__name__)

OnChange = Callable[[Settings], Awaitable[None] | None]
"""Called with the new settings. Its exception is shown as the configuration error of this daemon."""


class LiveSettings:
    """The settings in force, with hooks that run when they change."""

    def __init__(self, settings: Settings) -> None:
        self.now = settings
        self._hooks: list[OnChange] = []

    @property
    def view(self) -> Settings:
        """A proxy that reads like `Settings`, sections included; each read returns the current value."""
        return cast(Settings, _View(lambda: self.now))

    def on_change(self, hook: OnChange) -> None:
        """Register a hook for objects built from settings, such as a pool of a configured size. Values that are read on
        each use need no hook."""
        self._hooks.append(hook)

    async def apply(self, settings: Settings) -> None:
        """Put these settings in force. If a hook fails, restore the previous ones and raise its error."""
        before, self.now = self.now, settings
        try:
            for hook in self._hooks:
                await _notify(hook, settings)
        except Exception:
            self.now = before
            for hook in self._hooks:
                try:
                    await _notify(hook, before)
                except Exception:
                    log.exception("the previous configuration could not be restored everywhere")
            raise


async def _notify(hook: OnChange, settings: Settings) -> None:
    result = hook(settings)
    if inspect.isawaitable(result):
        await result


class _View:
    """A proxy for an object that is replaced when the settings change."""

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[], Any]) -> None:
        self._read = read

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._read(), name)
        return _View(lambda: getattr(self._read(), name)) if isinstance(value, Section) else value
