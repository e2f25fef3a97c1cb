"""Model selection from measured statistics (docs/router.md): synchronous and in memory.

    decision = selector.select(Request(project_id, "code", input_tokens=400), now)
    sample = selector.observe(Observation(project_id, "code", decision.chosen, now, quality=0.9), decision.ticket)
    selector.relabel(project_id, "code", decision.chosen, sample, 1.0, now)

The caller supplies the time, so that a recorded table can be replayed through the same class that serves requests.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from operator import itemgetter
from typing import NamedTuple

from kairos.llm.catalog.catalog import Model
from kairos.llm.health.availability import HEALTHY, Availability, HealthLookup
from kairos.llm.routing.candidates import CandidateModel, CandidateSets, exclusion_of
from kairos.llm.routing.decision import Decision, Request, ScoredCandidate
from kairos.llm.routing.experience import NO_EVIDENCE, Experience, ExperienceRow, ModelPrior
from kairos.llm.routing.scoring import (
    DecisionKind,
    Exclusion,
    Reason,
    cost_scale,
    cost_term,
    expectation,
    latency_term,
    prior_quality,
    uncertainty,
)
from kairos.llm.routing.statistics import Observation, RouterWeights, Sample, Statistics

__all__ = ["Decision", "ModelSelector", "Request"]

SESSIONS_KEPT = 10_000
UNKNOWN_COST = -1.0

_NEW = tuple.__new__
"""Three times as fast as the constructor of a named tuple."""
_UTILITY, _GREEDY_UTILITY = (
    itemgetter(ScoredCandidate._fields.index("utility")),
    itemgetter(ScoredCandidate._fields.index("greedy_utility")),
)


class _Pending(NamedTuple):
    cell: Statistics
    expires_at: float


class ScoreInputs(NamedTuple):
    """The values from which the score of one candidate is calculated."""

    entry: CandidateModel
    cell: Statistics
    model_prior: ModelPrior
    row: ExperienceRow
    cost: float
    scale: tuple[float, float]
    output_tokens: float
    availability: Availability


CalculateScore = Callable[[str, str, Hashable, ScoreInputs], ScoredCandidate | None]
"""Returns the score of a model (first its name) for a task type and project; None if it must not be called."""


class ModelSelector:
    """Chooses a model for a request. One instance per process; every call returns within microseconds."""

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
        self._candidate_sets = CandidateSets(models)

    def select(self, request: Request, now: float, calculate: CalculateScore | None = None) -> Decision:
        """Choose the candidate with the highest score. `calculate` replaces `calculate_score`.

        Choices are stable: a session keeps its model until it fails, and an incumbent is kept until another model beats
        it by more than the margin. Deterministic: the same statistics give the same choice.
        """
        decision, chosen = self._decide(request, now, calculate)
        if chosen is None:
            return decision
        updates_incumbent = (
            decision.kind is not DecisionKind.FALLBACK and request.session is None and request.model is None
        )
        if (
            updates_incumbent and chosen.name not in self._candidate_sets.canaries
        ):  # the next request may exclude a canary
            self._experience.project(request.project_id).rows[request.task_type].incumbent = chosen.name
        decision.ticket = self._count_pending(chosen, now)
        return decision

    def preview(self, request: Request, now: float) -> Decision:
        """Return the decision that `select` would make now, without counting it as pending and without changing the
        incumbent. The request must not belong to a session."""
        return self._decide(request, now, None)[0]

    def choose(self, request: Request, now: float, calculate: CalculateScore | None = None) -> Decision:
        """Choose the best candidate that is not in `avoid`, or else the best of all. A requested model is never
        avoided."""
        if request.avoid and request.model is None:
            decision = self.select(replace(request, exclude=request.exclude | request.avoid), now, calculate)
            if decision.candidates:
                decision.request = request  # after a failure, an avoided model may be chosen
                return decision
        return self.select(request, now, calculate)

    def score_inputs(self, request: Request, model: str, now: float) -> ScoreInputs | None:
        """Return the inputs of one model's score; None if it is not a candidate for the request."""
        eligible, _ = self._eligible(request, now)
        return next((inputs for inputs in eligible if inputs.entry.name == model), None)

    def observe(self, seen: Observation, ticket: int | None = None) -> Sample | None:
        """Record a call and stop counting its decision as pending. Quality None records only speed and cost."""
        if ticket is not None:
            self.release(ticket)
        return self._experience.observe(seen)

    def relabel(
        self, project_id: Hashable, task_type: str, model: str, sample: Sample, quality: float, now: float
    ) -> Sample:
        """Apply a late label to a sample. Returns the corrected sample."""
        return self._experience.relabel(project_id, task_type, model, sample, quality, now)

    def release(self, ticket: int) -> None:
        """Stop counting a decision as pending, because its verdict has come or will not come. Idempotent."""
        pending = self._pending.pop(ticket, None)
        if pending is not None:
            pending.cell.pending -= 1

    def expire(self, now: float) -> int:
        """Stop counting decisions whose verdict is overdue as pending. Returns their number."""
        overdue = 0
        while self._pending:
            ticket = next(iter(self._pending))  # all expire after the same time: the oldest comes first
            if self._pending[ticket].expires_at > now:
                break
            self.release(ticket)
            overdue += 1
        return overdue

    def replace_models(self, models: Iterable[Model]) -> None:
        """Replace the models, including the adapters of all projects. Statistics of removed models are kept in case
        they return."""
        self._candidate_sets = CandidateSets(models)

    def reweigh(self, weights: RouterWeights, last_resort: str | None) -> None:
        """Apply new weights and a new last resort from the next decision on."""
        self.weights = self._experience.weights = weights
        self.last_resort = last_resort

    def loaded(self, runner: str, model: str) -> None:
        """Record which model is loaded in a runner. The others that share the runner would have to be loaded."""
        self._loaded[runner] = model

    def statistics(self, project_id: Hashable, task_type: str, model: str, now: float) -> Statistics:
        """Return the statistics of a model at a task type."""
        return self._experience.statistics(project_id, task_type, model, now)

    def uncertainty(self, project_id: Hashable, task_type: str, model: str, now: float) -> float:
        """Return the standard error of a model's expected quality at a task type."""
        return uncertainty(self.statistics(project_id, task_type, model, now), self.weights)

    def restore(self, project_id: Hashable, task_type: str, position: int, rows: dict[str, Statistics]) -> None:
        """Load shared statistics: see `Experience.restore`."""
        self._experience.restore(project_id, task_type, position, rows)

    def _decide(
        self, request: Request, now: float, calculate: CalculateScore | None
    ) -> tuple[Decision, ScoredCandidate | None]:
        """Return the decision, not yet counted as pending, and its candidate; None if there is none."""
        if self._pending:
            self.expire(now)
        eligible, excluded = self._eligible(request, now)
        candidates = self._score_all(request, eligible, calculate)
        if not candidates:
            return self._without_candidates(request, excluded, now), None
        row = self._experience.project(request.project_id).rows[request.task_type]
        best = max(candidates, key=_UTILITY)
        chosen, kind = self._stable_choice(request, candidates, best, row.incumbent)
        return Decision(request, now, chosen, kind, candidates, excluded, 0), chosen

    def _score_all(
        self, request: Request, eligible: list[ScoreInputs], calculate: CalculateScore | None
    ) -> list[ScoredCandidate]:
        if calculate is None:
            return [self.calculate_score(inputs) for inputs in eligible]
        task_type, project_id = request.task_type, request.project_id
        scores = [calculate(inputs.entry.name, task_type, project_id, inputs) for inputs in eligible]
        return [score for score in scores if score is not None]

    def _eligible(self, request: Request, now: float) -> tuple[list[ScoreInputs], list[Exclusion]]:
        """Return the inputs of the candidates' scores, and the exclusions, in catalogue order. Models of other projects
        are in neither."""
        entries, has_constraints = self._candidate_sets.of(request.project_id)
        constrained = request.constrained or has_constraints
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
        eligible: list[ScoreInputs] = []
        excluded: list[Exclusion] = []
        for entry, cell, cost in zip(entries, cells, costs, strict=True):
            availability = HEALTHY if health is None else health(entry.name, now)
            if constrained or availability.open:
                exclusion = exclusion_of(entry.model, request, cost, availability, bound)
                if exclusion is not None:
                    excluded.append(exclusion)
                    continue
            tokens, prior = cell.output_tokens or typical, project.models[entry.name]
            eligible.append(_NEW(ScoreInputs, (entry, cell, prior, row, cost, scale, tokens, availability)))
        return eligible, excluded

    def calculate_score(self, inputs: ScoreInputs) -> ScoredCandidate:
        """Return the score of a candidate, from its statistics, price, expected latency and health."""
        entry, cell, model_prior, row, cost, scale, output_tokens, availability = inputs
        w, name = self.weights, entry.name
        own, own_weighted = row.evidence.get(name, NO_EVIDENCE)
        prior = prior_quality(
            entry.model, row.task_type, model_prior.weight - own, model_prior.weighted - own_weighted, w
        )
        n, mu, bonus = expectation(cell, prior, row.n, w)
        c = cost_term(cost, *scale)
        seconds = _expected_latency(cell, model_prior.latency_s, output_tokens)
        latency = w.latency_unknown if seconds is None else latency_term(seconds, w.latency_target_s)
        switching = w.switching if entry.runner and self._loaded.get(entry.runner, name) != name else 0.0
        greedy_utility = mu - w.lambda_cost * c - w.lambda_latency * latency - availability.penalty - switching
        terms = (
            greedy_utility + bonus, greedy_utility, name, cell, n, cell.pending, mu, prior, w.kappa, bonus, c, cost,
            latency, seconds, availability.penalty, switching,
        )  # fmt: skip
        return _NEW(ScoredCandidate, terms)

    def _stable_choice(
        self, request: Request, candidates: list[ScoredCandidate], best: ScoredCandidate, incumbent: str | None
    ) -> tuple[ScoredCandidate, DecisionKind]:
        """Return the candidate to use and the kind of the decision."""
        chosen = best
        if request.session is not None:
            chosen = self._session_model(request.project_id, request.session, candidates, best)
        elif incumbent is not None and incumbent != best.name and not request.exclude:
            kept = _find(candidates, incumbent)
            if kept is not None and kept.utility + self.weights.margin >= best.utility:
                chosen = kept
        if request.exclude:
            return chosen, DecisionKind.FALLBACK
        if len(candidates) == 1:
            return chosen, DecisionKind.ONLY
        if chosen is not best:
            return chosen, DecisionKind.STICKY
        return chosen, DecisionKind.EXPLOIT if max(candidates, key=_GREEDY_UTILITY) is chosen else DecisionKind.EXPLORE

    def _session_model(
        self, project_id: Hashable, session: str, candidates: list[ScoredCandidate], best: ScoredCandidate
    ) -> ScoredCandidate:
        """Return the session's model, or bind the session to the best one."""
        key = (project_id, session)
        bound = self._sessions.pop(key, None)
        chosen = (_find(candidates, bound) if bound is not None else None) or best
        self._sessions[key] = chosen.name
        if len(self._sessions) > SESSIONS_KEPT:
            del self._sessions[next(iter(self._sessions))]
        return chosen

    def _count_pending(self, chosen: ScoredCandidate, now: float) -> int:
        self._tickets += 1
        chosen.cell.pending += 1
        self._pending[self._tickets] = _Pending(chosen.cell, now + self.weights.pending_expiry_s)
        return self._tickets

    def _without_candidates(self, request: Request, excluded: list[Exclusion], now: float) -> Decision:
        """Return the decision without candidates: the last resort if only its open breaker excludes it, else no
        model."""
        blocked = any(e.model == self.last_resort and e.reason is Reason.BREAKER for e in excluded)
        chosen = self.last_resort if blocked and request.model in (None, self.last_resort) else None
        return Decision(request, now, None, DecisionKind.FALLBACK if chosen else None, [], excluded, 0, chosen)


def _find(candidates: list[ScoredCandidate], name: str) -> ScoredCandidate | None:
    for candidate in candidates:
        if candidate.name == name:
            return candidate
    return None


def _expected_latency(cell: Statistics, overall_latency_s: float | None, output_tokens: float) -> float | None:
    """Estimate the seconds until an answer is complete: from the speed at this task type, else its average latency,
    else the model's average over all task types."""
    if cell.first_token_s is not None and cell.tokens_per_s:
        return cell.first_token_s + output_tokens / cell.tokens_per_s
    return overall_latency_s if cell.latency_s is None else cell.latency_s
