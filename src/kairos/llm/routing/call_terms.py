"""Parameters and results of one model call: its context, stream listener, timeouts, result, and measured speeds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self
from uuid import UUID

from kairos.db.engine import Session
from kairos.llm.calls.answer_limits import AnswerLimit
from kairos.llm.calls.call_options import CallOptions
from kairos.llm.calls.providers import Completion
from kairos.llm.health.health import SLOW_AT_LEAST_S
from kairos.tenancy import ProjectId

OnDelta = Callable[[str], Awaitable[None]]
OnRestart = Callable[[], None]


class CallJournal(Protocol):
    """Stores the records of calls later, together with other rows of their attempt."""

    def record(self, write: Callable[[Session], Awaitable[None]]) -> None:
        """Add a record, as a function that writes it in a transaction of the project."""
        ...

    async def flush(self) -> None:
        """Store all records now."""
        ...


@dataclass(frozen=True, slots=True)
class CallContext:
    """The caller of a model call, and its requirements."""

    project_id: ProjectId
    options: CallOptions = field(default_factory=CallOptions)
    task_id: UUID | None = None
    attempt: int | None = None
    task_type: str | None = None
    prompt: str | None = None
    """The text to classify, if it is not the last message."""
    local_only: bool = False
    avoid: frozenset[str] = frozenset()
    """Models whose answer was rejected. They are chosen only if no other model can be called."""
    cache_control: str | None = None
    """The caller's `Cache-Control` header."""
    rules: str = ""
    """Version of the guardian's rules. Together with `checks`, it is part of the cache key."""
    checks: object = None
    journal: CallJournal | None = None
    """None stores the records of the call at once."""


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
