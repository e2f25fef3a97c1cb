"""Routing requests and decisions, with the reasons for each decision."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from kairos.llm.routing.scoring import DecisionKind, Exclusion, Score
from kairos.llm.routing.statistics import Statistics


@dataclass(frozen=True, slots=True)
class Request:
    """The requirements of a request."""

    project_id: Hashable
    task_type: str
    input_tokens: float = 500.0
    output_tokens: float = 300.0
    context_tokens: int = 0
    """Tokens of prompt and answer together; 0 sets no requirement."""
    min_context_tokens: int = 0
    """The same with the shortest useful answer. Used when no model has room for the longest one."""
    capabilities: frozenset[str] = frozenset()
    local_only: bool = False
    """Whether the prompt must stay on the operator's hardware."""
    budget_usd: float | None = None
    """Maximum cost of this call; None for no limit."""
    session: str | None = None
    """Requests of one session stay with one model until it fails."""
    exclude: frozenset[str] = frozenset()
    """Models that this request has already tried."""
    avoid: frozenset[str] = frozenset()
    """Models whose answer to this request was rejected. The router chooses one of them only if no other can be
    called."""
    model: str | None = None
    """The model that the caller requested; None lets the router choose."""
    canary_bucket: float = 0.0
    """In [0, 1). Canaries whose share is not above it are excluded. Constant over all attempts of a call."""
    constrained: bool = field(init=False, repr=False, compare=False)
    """Whether the request has any requirement that could exclude a model. Most have none."""

    def __post_init__(self) -> None:
        constrained = bool(
            self.context_tokens
            or self.capabilities
            or self.local_only
            or self.exclude
            or self.model is not None
            or self.budget_usd is not None
        )
        object.__setattr__(self, "constrained", constrained)


def canary_bucket_of(decision_id: UUID) -> float:
    """Return the canary bucket of a decision, in [0, 1), derived from its id: equal on every replica and every attempt.

    `person` separates it from `agents.judge.sampled`, which hashes the same id. With the same hash for both, the judge
    would sample only calls that canaries may serve.
    """
    digest = hashlib.blake2b(decision_id.bytes, digest_size=8, person=b"kairos:lot").digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


class ScoredCandidate(NamedTuple):
    """A candidate with its score. A named tuple for speed: a decision may create fifty of them."""

    utility: float
    greedy_utility: float
    """The utility without the exploration bonus."""
    name: str
    cell: Statistics
    n: float
    pending: int
    mu: float
    prior: float
    kappa: float
    bonus: float
    cost: float
    expected_cost: float
    latency: float
    expected_latency_s: float | None
    health: float
    switching: float

    def score(self) -> Score:
        """Return the score in the form in which it is stored and shown."""
        return Score(
            model=self.name,
            n=self.n,
            pending=self.pending,
            mu=self.mu,
            prior=self.prior,
            prior_share=self.kappa / (self.n + self.kappa),
            bonus=self.bonus,
            cost=self.cost,
            expected_cost=None if self.expected_cost < 0.0 else self.expected_cost,
            latency=self.latency,
            expected_latency_s=self.expected_latency_s,
            health=self.health,
            switching=self.switching,
            utility=self.utility,
        )


class Decision:
    """The model chosen for a request, and the scores behind the choice. Scores are formatted only when read."""

    __slots__ = ("_candidates", "_chosen", "at", "chosen", "excluded", "kind", "request", "ticket")

    def __init__(
        self,
        request: Request,
        at: float,
        chosen: ScoredCandidate | None,
        kind: DecisionKind | None,
        candidates: list[ScoredCandidate],
        excluded: list[Exclusion],
        ticket: int,
        last_resort: str | None = None,
    ) -> None:
        self.request = request
        self.at = at
        self.chosen: str | None = last_resort if chosen is None else chosen.name
        """None if no model may be called."""
        self.kind = kind
        self.excluded = excluded
        self.ticket = ticket
        """Pass it to `observe` with the verdict, or to `release`. 0 if no verdict is pending."""
        self._chosen = chosen
        self._candidates = candidates

    @property
    def candidates(self) -> tuple[Score, ...]:
        """Scores of the candidates: the chosen one first, then by utility."""
        return tuple(candidate.score() for candidate in self._ordered())

    @property
    def ranked(self) -> tuple[str, ...]:
        """Candidate names in fallback order."""
        return tuple(candidate.name for candidate in self._ordered())

    def score_of(self, model: str) -> Score | None:
        """Return the score of one candidate; None if the model is not a candidate."""
        return next((candidate.score() for candidate in self._candidates if candidate.name == model), None)

    @property
    def margin(self) -> float:
        """Utility of the chosen candidate minus the best other; negative if a session or the incumbent was kept."""
        others = [candidate.utility for candidate in self._candidates if candidate is not self._chosen]
        return self._chosen.utility - max(others) if self._chosen is not None and others else 0.0

    @property
    def retry_at(self) -> float | None:
        """Earliest time at which a blocked model may be tried again; None if unknown."""
        return min((e.retry_at for e in self.excluded if e.retry_at is not None), default=None)

    def _ordered(self) -> list[ScoredCandidate]:
        return sorted(self._candidates, key=lambda candidate: (candidate is not self._chosen, -candidate.utility))


def summary(decision: Decision) -> dict[str, Any]:
    """Return a decision as event data: the chosen model, the reason, and the scores of the candidates."""
    return {
        "chosen": decision.chosen,
        "kind": decision.kind,
        "margin": round(decision.margin, 4),
        "candidates": [{"model": score.model, "utility": round(score.utility, 4)} for score in decision.candidates],
        "excluded": [{"model": exclusion.model, "reason": exclusion.reason} for exclusion in decision.excluded],
    }
