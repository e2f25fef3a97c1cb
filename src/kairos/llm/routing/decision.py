"""What a request asks of a model, and what was decided, with every reason."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from kairos.llm.routing.scoring import Exclusion, Kind, Score
from kairos.llm.routing.statistics import Statistics


@dataclass(frozen=True, slots=True)
class Request:
    """What a request asks of a model."""

    project_id: Hashable
    task_type: str
    input_tokens: float = 500.0
    output_tokens: float = 300.0
    context_tokens: int = 0
    """Prompt and answer together; 0 asks nothing of the context length."""
    least_context_tokens: int = 0
    """The same with the shortest answer that is of use: asked for where no model has room for the longest."""
    capabilities: frozenset[str] = frozenset()
    local_only: bool = False
    """Whether the prompt must not leave the operator's hardware."""
    budget_usd: float | None = None
    """What this call may cost at most; None is no limit."""
    session: str | None = None
    """Requests of one session stay with one model until it fails."""
    exclude: frozenset[str] = frozenset()
    """Models that this request has already tried."""
    avoid: frozenset[str] = frozenset()
    """Models whose answer to this was rejected: the router chooses one of them only where no other can be called."""
    model: str | None = None
    """The model that the caller named; None lets the router choose."""
    lot: float = 0.0
    """In [0, 1): a model on trial with a smaller share is none for this request. The same for every try of it."""
    demanding: bool = field(init=False, repr=False, compare=False)
    """Whether any model could be refused for what is asked: most requests ask nothing."""

    def __post_init__(self) -> None:
        demanding = bool(
            self.context_tokens
            or self.capabilities
            or self.local_only
            or self.exclude
            or self.model is not None
            or self.budget_usd is not None
        )
        object.__setattr__(self, "demanding", demanding)


def lot_of(decision_id: UUID) -> float:
    """The lot of a decision, in [0, 1): by its id, so that every replica and every try of the call has the same one.

    `person` keeps it apart from `agents.judge.sampled`, which hashes the same id: with one hash for both, the judge
    would hear of the models on trial alone.
    """
    digest = hashlib.blake2b(decision_id.bytes, digest_size=8, person=b"kairos:lot").digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


class Weighed(NamedTuple):
    """A candidate at the moment of the decision: a tuple, because fifty of them are made for one decision."""

    utility: float
    certain: float
    """The utility without the bonus for doubt."""
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
        """The same, in the words in which it is stored and shown."""
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
    """Which model was chosen for a request, and why. The terms were taken when it was made; they are put into words
    when somebody reads them."""

    __slots__ = ("_chosen", "_weighed", "at", "chosen", "excluded", "kind", "request", "ticket")

    def __init__(
        self,
        request: Request,
        at: float,
        chosen: Weighed | None,
        kind: Kind | None,
        weighed: list[Weighed],
        excluded: list[Exclusion],
        ticket: int,
        last_resort: str | None = None,
    ) -> None:
        self.request = request
        self.at = at
        self.chosen: str | None = last_resort if chosen is None else chosen.name
        """None where no model may be called."""
        self.kind = kind
        self.excluded = excluded
        self.ticket = ticket
        """To be handed to `observe` with the verdict, or to `release`; 0 where nothing waits."""
        self._chosen = chosen
        self._weighed = weighed

    @property
    def candidates(self) -> tuple[Score, ...]:
        """The chosen one first, then by utility."""
        return tuple(weighed.score() for weighed in self._ordered())

    @property
    def ranked(self) -> tuple[str, ...]:
        """The names of the candidates in the order of fallback."""
        return tuple(weighed.name for weighed in self._ordered())

    @property
    def margin(self) -> float:
        """Utility of the chosen one less that of the best other one: negative where a session or incumbent stayed."""
        others = [weighed.utility for weighed in self._weighed if weighed is not self._chosen]
        return self._chosen.utility - max(others) if self._chosen is not None and others else 0.0

    @property
    def retry_at(self) -> float | None:
        """When the first of the blocked models may be tried again, as far as is known."""
        return min((e.retry_at for e in self.excluded if e.retry_at is not None), default=None)

    def _ordered(self) -> list[Weighed]:
        return sorted(self._weighed, key=lambda weighed: (weighed is not self._chosen, -weighed.utility))
