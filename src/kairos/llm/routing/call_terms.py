"""The terms of one model call: who hears the answer while it is written, and how long is waited for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from kairos.llm.calls.answer_limits import AnswerLimit
from kairos.llm.calls.providers import Completion
from kairos.llm.health.health import SLOW_AT_LEAST_S

OnDelta = Callable[[str], Awaitable[None]]
OnRestart = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Hearer:
    """Who hears the answer while it is written."""

    on_delta: OnDelta | None
    on_restart: OnRestart | None

    def restarted(self) -> bool:
        """Whether another model may begin anew after a part of the answer went out."""
        if self.on_restart:
            self.on_restart()
        return self.on_delta is None or self.on_restart is not None


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one of so many candidates is waited for: for its first token a fair share of the time that is left, so
    that a server which hangs leaves some for the others; the last one may have all of it."""

    left_s: float
    candidates: int

    @property
    def timeout_s(self) -> float:
        return max(self.left_s, 0.001)

    @property
    def first_token_s(self) -> float | None:
        return self.timeout_s / self.candidates if self.candidates > 1 else None

    @property
    def short(self) -> bool:
        """The wait says more of the caller's haste than of the server: its breaker, which all projects share, does not
        count it."""
        return self.first_token_s is not None and self.first_token_s < SLOW_AT_LEAST_S

    def after(self, seconds: float) -> Self:
        """What is left of it so much later."""
        return replace(self, left_s=self.left_s - seconds)


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer with the request as it was sent."""

    completion: Completion
    messages: tuple[Mapping[str, Any], ...]
    limit: AnswerLimit


class Speeds:
    """Tokens per second of each model, an average that fades."""

    LEAST_TOKENS = 16
    """Shorter answers say little of speed."""
    WEIGHT = 0.2

    def __init__(self) -> None:
        self._speeds: dict[str, float] = {}

    def of(self, model: str) -> float | None:
        return self._speeds.get(model)

    def add(self, model: str, completion: Completion) -> None:
        """Learn from an answer that was streamed and counted."""
        tokens = completion.usage.output_tokens if completion.usage else 0
        seconds = completion.duration_s - (completion.first_token_s or 0.0)
        if completion.first_token_s is None or tokens < self.LEAST_TOKENS or seconds <= 0:
            return
        before = self._speeds.get(model, tokens / seconds)
        self._speeds[model] = before + self.WEIGHT * (tokens / seconds - before)
