"""The terms of one model call: who hears the answer while it is written, and how long is waited for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from kairos.llm.health import SLOW_AT_LEAST_S

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
