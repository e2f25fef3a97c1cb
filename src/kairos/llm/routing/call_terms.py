"""Parameters and results of one model call: the stream listener, timeouts, the result, and measured speeds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self
from uuid import UUID

from kairos.llm.calls.answer_limits import AnswerLimit
from kairos.llm.calls.providers import Completion
from kairos.llm.health.health import SLOW_AT_LEAST_S

OnDelta = Callable[[str], Awaitable[None]]
OnRestart = Callable[[], None]


@dataclass(frozen=True, slots=True)
class StreamListener:
    """The callbacks that receive an answer while it streams."""

    on_delta: OnDelta | None
    on_restart: OnRestart | None

    def restart(self) -> bool:
        """Announce a restart. Returns whether another model may start the answer over after part of it was streamed."""
        if self.on_restart:
            self.on_restart()
        return self.on_delta is None or self.on_restart is not None


@dataclass(frozen=True, slots=True)
class CallTimeouts:
    """Timeouts for calling one of several candidates.

    Each candidate gets an equal share of the remaining time for its first token, so that a hanging server leaves time
    for the others. The last candidate gets all of it.
    """

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
        """Whether the first-token timeout is too short to count against the server. Its circuit breaker is shared by
        all projects."""
        return self.first_token_s is not None and self.first_token_s < SLOW_AT_LEAST_S

    def after(self, seconds: float) -> Self:
        """The timeouts that remain after `seconds` have passed."""
        return replace(self, left_s=self.left_s - seconds)


@dataclass(frozen=True, slots=True)
class CallResult:
    """A completion, with the request as it was sent."""

    completion: Completion
    messages: tuple[Mapping[str, Any], ...]
    limit: AnswerLimit


class Speeds:
    """Exponential moving average of each model's tokens per second."""

    MIN_TOKENS = 16
    """Shorter answers are too noisy to measure speed."""
    WEIGHT = 0.2

    def __init__(self) -> None:
        self._speeds: dict[str, float] = {}

    def of(self, model: str) -> float | None:
        return self._speeds.get(model)

    def add(self, model: str, completion: Completion) -> None:
        """Add a streamed answer whose tokens were counted."""
        tokens = completion.usage.output_tokens if completion.usage else 0
        seconds = completion.duration_s - (completion.first_token_s or 0.0)
        if completion.first_token_s is None or tokens < self.MIN_TOKENS or seconds <= 0:
            return
        before = self._speeds.get(model, tokens / seconds)
        self._speeds[model] = before + self.WEIGHT * (tokens / seconds - before)


@dataclass(frozen=True, slots=True)
class RoutedAnswer:
    """A completion, its model, and the routing decision."""

    completion: Completion
    model: str
    decision_id: UUID
    cached: bool = False
    messages: tuple[Mapping[str, Any], ...] = ()
    """The messages as sent: the longest form that fits the model's context."""
    limit: AnswerLimit | None = None
    """The token limit of the answer; None for a cached answer."""
