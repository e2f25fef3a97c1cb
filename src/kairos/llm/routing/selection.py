"""The heart of the router: one choice among the models from what was measured, in memory and without waiting.

    decision = selector.select(Request(project_id, "code", input_tokens=400), now)
    sample = selector.observe(Observation(project_id, "code", decision.chosen, now, quality=0.9), decision.ticket)
    selector.relabel(project_id, "code", decision.chosen, sample, 1.0, now)

The clock is always the caller's, so that a recorded table can be replayed through the very class that serves.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import replace
from operator import itemgetter
from typing import NamedTuple

from kairos.llm.catalog.catalog import Model
from kairos.llm.health.availability import HEALTHY, Availability, HealthLookup
from kairos.llm.routing.candidates import Entry, Offers, refusal
from kairos.llm.routing.decision import Decision, Request, Weighed
from kairos.llm.routing.experience import NOTHING, Elsewhere, Experience, TaskRow
from kairos.llm.routing.scoring import (
    Exclusion,
    Kind,
    Reason,
    Score,
    cost_scale,
    cost_term,
    expectation,
    latency_term,
    prior_quality,
)
from kairos.llm.routing.statistics import Observation, RouterWeights, Sample, Statistics

__all__ = ["Decision", "ModelSelector", "Request"]

SESSIONS_KEPT = 10_000
UNKNOWN_COST = -1.0

_NEW = tuple.__new__
"""Makes a named tuple in a third of the time that its own constructor takes."""
_UTILITY, _CERTAIN = itemgetter(Weighed._fields.index("utility")), itemgetter(Weighed._fields.index("certain"))


class _Pending(NamedTuple):
    cell: Statistics
    expires_at: float


class ModelSelector:
    """Chooses a model for a request. One object for each process; every call returns within microseconds."""

    def __init__(
        self,
        models: Iterable[Model],
        weights: RouterWeights | None = None,
        health: HealthLookup | None = None,
        last_resort: str | None = None,
    ) -> None:
        self.weights = weights or RouterWeights()
        self.last_resort = last_resort
        self._health = health
        self._experience = Experience(self.weights)
        self._pending: dict[int, _Pending] = {}
        self._tickets = 0
        self._sessions: dict[tuple[Hashable, str], str] = {}
        self._loaded: dict[str, str] = {}
        self._offers = Offers(models)

    def select(self, request: Request, now: float) -> Decision:
        """The best candidate, kept stable: a session stays with its model until it fails, and an incumbent until it is
        beaten by more than the margin. Deterministic: the same knowledge gives the same choice."""
        if self._pending:
            self.expire(now)
        candidates, excluded = self._weigh(request, now)
        if not candidates:
            return self._without_candidates(request, excluded, now)
        row = self._experience.project(request.project_id).rows[request.task_type]
        best = max(candidates, key=_UTILITY)
        chosen, kind = self._settled(request, candidates, best, row.incumbent)
        lasting = kind is not Kind.FALLBACK and request.session is None and request.model is None
        if lasting and chosen.name not in self._offers.on_trial:  # one on trial is away at the next request
            row.incumbent = chosen.name
        return Decision(request, now, chosen, kind, candidates, excluded, self._count_pending(chosen, now))

    def choose(self, request: Request, now: float) -> Decision:
        """The best candidate that is not to be avoided, else the best of all. A model that was named is not avoided."""
        if request.avoid and request.model is None:
            decision = self.select(replace(request, exclude=request.exclude | request.avoid), now)
            if decision.candidates:
                decision.request = request  # the next one after a failure may be a model to avoid
                return decision
        return self.select(request, now)

    def score(self, request: Request, model: str, now: float) -> Score | None:
        """The score of one model; None if it is no candidate for the request."""
        candidates, _ = self._weigh(request, now)
        return next((weighed.score() for weighed in candidates if weighed.name == model), None)

    def observe(self, seen: Observation, ticket: int | None = None) -> Sample | None:
        """Learn from a call, and stop counting its decision as pending. Quality None teaches speed and cost alone."""
        if ticket is not None:
            self.release(ticket)
        return self._experience.observe(seen)

    def relabel(
        self, project_id: Hashable, task_type: str, model: str, sample: Sample, quality: float, now: float
    ) -> Sample:
        """A label that came later than its sample. Returns the sample as it counts from now on."""
        return self._experience.relabel(project_id, task_type, model, sample, quality, now)

    def release(self, ticket: int) -> None:
        """No verdict will come of this decision, or it has come. Doing it twice does no harm."""
        pending = self._pending.pop(ticket, None)
        if pending is not None:
            pending.cell.pending -= 1

    def expire(self, now: float) -> int:
        """Stop waiting for verdicts that are overdue. Returns how many there were."""
        overdue = 0
        while self._pending:
            ticket = next(iter(self._pending))  # all wait equally long: the oldest is the first to expire
            if self._pending[ticket].expires_at > now:
                break
            self.release(ticket)
            overdue += 1
        return overdue

    def replace_models(self, models: Iterable[Model]) -> None:
        """Take over a changed catalogue, the adapters of all projects among it. What was learned of a model that
        leaves is kept, in case it comes back."""
        self._offers = Offers(models)

    def reweigh(self, weights: RouterWeights) -> None:
        """Take over changed weights from the next decision on."""
        self.weights = self._experience.weights = weights

    def loaded(self, runner: str, model: str) -> None:
        """The runner holds this model now; the others that share it would have to be loaded."""
        self._loaded[runner] = model

    def statistics(self, project_id: Hashable, task_type: str, model: str, now: float) -> Statistics:
        """What is known of a model at a task type."""
        return self._experience.statistics(project_id, task_type, model, now)

    def restore(self, project_id: Hashable, task_type: str, position: int, rows: dict[str, Statistics]) -> None:
        """Take over what a store shares: see `Experience.restore`."""
        self._experience.restore(project_id, task_type, position, rows)

    def _weigh(self, request: Request, now: float) -> tuple[list[Weighed], list[Exclusion]]:
        """The candidates with every term (design.md, 1 to 7), and who is none, in catalogue order. Models of other
        projects are neither."""
        entries, trials = self._offers.of(request.project_id)
        demanding = request.demanding or trials
        bound = None if request.session is None else self._sessions.get((request.project_id, request.session))
        project = self._experience.project(request.project_id)
        row = project.row(request.task_type, now, self.weights)
        typical = row.output_tokens or request.output_tokens
        cells = [row.cells.get(entry.name) or project.cell(row, entry.name) for entry in entries]
        costs = [
            entry.input_price * request.input_tokens + entry.output_price * (cell.output_tokens or typical)
            if entry.priced
            else UNKNOWN_COST
            for entry, cell in zip(entries, cells, strict=True)
        ]
        scale = cost_scale(costs)
        health = self._health
        candidates: list[Weighed] = []
        excluded: list[Exclusion] = []
        for entry, cell, cost in zip(entries, cells, costs, strict=True):
            availability = HEALTHY if health is None else health(entry.name, now)
            if demanding or availability.open:
                refused = refusal(entry.model, request, cost, availability, bound)
                if refused is not None:
                    excluded.append(refused)
                    continue
            tokens = cell.output_tokens or typical
            candidates.append(
                self._candidate(entry, cell, project.models[entry.name], row, cost, scale, tokens, availability)
            )
        return candidates, excluded

    def _candidate(
        self,
        entry: Entry,
        cell: Statistics,
        elsewhere: Elsewhere,
        row: TaskRow,
        cost: float,
        scale: tuple[float, float],
        output_tokens: float,
        availability: Availability,
    ) -> Weighed:
        w, name = self.weights, entry.name
        own, own_weighted = row.witness.get(name, NOTHING)
        prior = prior_quality(entry.model, row.task_type, elsewhere.weight - own, elsewhere.weighted - own_weighted, w)
        n, mu, bonus = expectation(cell, prior, row.n, w)
        c = cost_term(cost, *scale)
        seconds = _expected_latency(cell, elsewhere.latency_s, output_tokens)
        latency = w.latency_unknown if seconds is None else latency_term(seconds, w.latency_target_s)
        switching = w.switching if entry.runner and self._loaded.get(entry.runner, name) != name else 0.0
        certain = mu - w.lambda_cost * c - w.lambda_latency * latency - availability.penalty - switching
        terms = (
            certain + bonus, certain, name, cell, n, cell.pending, mu, prior, w.kappa, bonus, c, cost, latency, seconds,
            availability.penalty, switching,
        )  # fmt: skip
        return _NEW(Weighed, terms)

    def _settled(
        self, request: Request, candidates: list[Weighed], best: Weighed, incumbent: str | None
    ) -> tuple[Weighed, Kind]:
        """The candidate to take, and why."""
        chosen = best
        if request.session is not None:
            chosen = self._session_model(request.project_id, request.session, candidates, best)
        elif incumbent is not None and incumbent != best.name and not request.exclude:
            kept = _named(candidates, incumbent)
            if kept is not None and kept.utility + self.weights.margin >= best.utility:
                chosen = kept
        if request.exclude:
            return chosen, Kind.FALLBACK
        if len(candidates) == 1:
            return chosen, Kind.ONLY
        if chosen is not best:
            return chosen, Kind.STICKY
        return chosen, Kind.EXPLOIT if max(candidates, key=_CERTAIN) is chosen else Kind.EXPLORE

    def _session_model(self, project_id: Hashable, session: str, candidates: list[Weighed], best: Weighed) -> Weighed:
        """The model the session is with, or the best one, with which it stays from now on."""
        key = (project_id, session)
        bound = self._sessions.pop(key, None)
        chosen = (_named(candidates, bound) if bound is not None else None) or best
        self._sessions[key] = chosen.name
        if len(self._sessions) > SESSIONS_KEPT:
            del self._sessions[next(iter(self._sessions))]
        return chosen

    def _count_pending(self, chosen: Weighed, now: float) -> int:
        self._tickets += 1
        chosen.cell.pending += 1
        self._pending[self._tickets] = _Pending(chosen.cell, now + self.weights.pending_expiry_s)
        return self._tickets

    def _without_candidates(self, request: Request, excluded: list[Exclusion], now: float) -> Decision:
        """Nothing may be called: the named last resort where only its breaker speaks against it, else nothing."""
        blocked = any(e.model == self.last_resort and e.reason is Reason.BREAKER for e in excluded)
        chosen = self.last_resort if blocked and request.model in (None, self.last_resort) else None
        return Decision(request, now, None, Kind.FALLBACK if chosen else None, [], excluded, 0, chosen)


def _named(candidates: list[Weighed], name: str) -> Weighed | None:
    for weighed in candidates:
        if weighed.name == name:
            return weighed
    return None


def _expected_latency(cell: Statistics, elsewhere_s: float | None, output_tokens: float) -> float | None:
    """Seconds until the answer is whole: by this task type's speed, else its average, else the model's anywhere."""
    if cell.first_token_s is not None and cell.tokens_per_s:
        return cell.first_token_s + output_tokens / cell.tokens_per_s
    return elsewhere_s if cell.latency_s is None else cell.latency_s
