"""The way of one model call: the cache, the ranked models, the best of them, the next on failure; and what is kept.

The choice itself is `selection.py`, in memory and synchronous; here it meets servers, the clock and the database.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any
from uuid import UUID

from kairos.db.engine import Database
from kairos.db.models import DecisionRow
from kairos.db.repositories import history
from kairos.db.repositories.statistics import Judgement, QualitySource, TaskTypeStatistics
from kairos.llm.cache.cached_answer import CachedAnswer
from kairos.llm.cache.response_cache import Hit, Lease, ResponseCache
from kairos.llm.cache.response_key import CacheKey, CacheUse, CatalogVersions, cache_key, cache_use, model_version
from kairos.llm.calls.answer_limits import AnswerLimit, min_room, shortest_messages
from kairos.llm.calls.model_calls import cost_of
from kairos.llm.calls.prompt_size import prompt_upper_bound
from kairos.llm.calls.providers import ChatRequest, Completion, ModelCallError, Providers
from kairos.llm.calls.served_context import ModelContexts
from kairos.llm.catalog.catalog import Catalog, Model
from kairos.llm.health.health import ModelHealth
from kairos.llm.routing.call_terms import CallResult, StreamListener, OnDelta, OnRestart, CallTimeouts
from kairos.llm.routing.decision import Decision, Request, canary_bucket_of
from kairos.llm.routing.model_caller import ModelCaller
from kairos.llm.routing.routing_errors import ModelBeingProbed, ModelWithdrawn, UnknownModel, no_candidate_error
from kairos.llm.routing.scoring import Score
from kairos.llm.routing.selection import ModelSelector
from kairos.llm.routing.statistics import RouterWeights, Statistics
from kairos.llm.routing.task_types import TaskType, TaskTypes, prompt_of, statistics_key
from kairos.monitoring.performance_tracker import CallOrigin, ModelCall, PerformanceTracker
from kairos.monitoring.shared_statistics import SharedStatistics
from kairos.tenancy import ProjectId, new_id

log = logging.getLogger(__name__)

CHARACTERS_PER_TOKEN = 4
"""For the expected cost before the call: what is recorded is what the server counted, and `prompt_size` says what fits
into a context."""

DEFAULT_ANSWER_TOKENS = 512
LITTLE_KNOWN = 50
"""Measured answers below which each one is shared at once (design.md, "How the router decides")."""

Emit = Callable[[str, Mapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class CallContext:
    """For whom and for what a model is called."""

    project_id: ProjectId
    task_id: UUID | None = None
    attempt: int | None = None
    task_type: str | None = None
    prompt: str | None = None
    """What tells the kind of work, where the last message does not."""
    model: str | None = None
    local_only: bool = False
    session: str | None = None
    avoid: frozenset[str] = frozenset()
    """Models whose answer was rejected: chosen only when nothing else is left."""
    cache: bool | None = None
    """None caches what is deterministic by itself."""
    cache_control: str | None = None
    """The caller's header of that name."""
    rules: str = ""
    """Version of the guardian's rules; with `checks` a part of the cache's key."""
    checks: object = None


@dataclass(frozen=True, slots=True)
class RoutedAnswer:
    """A completion with the model that gave it and the decision that led there."""

    completion: Completion
    model: str
    decision_id: UUID
    cached: bool = False
    messages: tuple[Mapping[str, Any], ...] = ()
    """As they were sent: the longest form of the request that the model's context holds."""
    limit: AnswerLimit | None = None
    """The most tokens that the answer could have; None for one from the cache."""


@dataclass(frozen=True, slots=True)
class _OpenDecision:
    """An answer on which the guardian has not spoken yet."""

    ticket: int
    task_type: str
    model: str
    lease: Lease | None
    answer: CachedAnswer


class LLMRouter:
    """Picks the model by what was measured, and calls it."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        selector: ModelSelector,
        health: ModelHealth,
        providers: Providers,
        tracker: PerformanceTracker,
        task_types: TaskTypes,
        cache: ResponseCache,
        database: Database,
        may_probe: Callable[[str], Awaitable[bool]],
        default_model: str = "auto",
    ) -> None:
        self.catalog = catalog
        self.health = health
        self.cache = cache
        self._selector = selector
        self._providers = providers
        self._tracker = tracker
        self._task_types = task_types
        self._database = database
        self.default_model = default_model
        """`auto`, or the model that every call goes to which names none."""
        self.contexts = ModelContexts(providers.traits)
        self._caller = ModelCaller(selector, health, providers, self.contexts, may_probe)
        providers.traits.changed = self.contexts.changed = self._update_models
        self._versions = CatalogVersions(catalog)
        self._statistics: SharedStatistics | None = None
        self._open: dict[UUID, _OpenDecision] = {}
        self._update_models()

    def use_statistics(self, statistics: SharedStatistics) -> None:
        """Learn through these from now on; they hand what they read to `restore`."""
        self._statistics = statistics

    async def complete(
        self,
        context: CallContext,
        request: ChatRequest,
        emit: Emit,
        on_delta: OnDelta | None = None,
        timeout_s: float = 600,
        on_restart: OnRestart | None = None,
    ) -> RoutedAnswer:
        """Answer a chat request from the cache, or by the best model that can. `emit` is told of every step.

        `on_delta` gets the text as it comes. An answer that breaks off after that is begun anew by the next model only
        where `on_restart` can say so to who heard it. Raises `NoModelAvailable`, `NoSuitableModel`, `UnknownModel`, or
        the error of the last model tried.
        """
        deadline = time.monotonic() + timeout_s
        key, refresh = self._cache_key(context, request)
        lease = None
        if key is not None:
            found = await self.cache.lookup(key, refresh=refresh, wait_s=timeout_s)
            if isinstance(found, Hit):
                await emit("cache_hit", {"model": found.answer.model, "decision_id": str(found.answer.decision_id)})
                if on_delta is not None and found.answer.text:
                    await on_delta(found.answer.text)
                return RoutedAnswer(
                    found.answer.completion(),
                    found.answer.model,
                    found.answer.decision_id,
                    cached=True,
                    messages=request.messages,
                )
            lease = found.lease
        try:
            return await self._routed(context, request, emit, StreamListener(on_delta, on_restart), deadline, lease)
        except BaseException:
            if lease is not None:
                self.cache.release(lease)
            raise

    def select_model(self, request: Request) -> Decision:
        """The best of the healthy and suitable models, with every term of every score. Raises if there is none."""
        if request.model is not None:
            self.require(request.model, request.project_id)
        decision = self._choose(request)
        if decision.chosen is None:
            raise no_candidate_error(decision)
        return decision

    def _choose(self, request: Request) -> Decision:
        """The choice of this moment. Where no context holds the longest answer that was allowed, a shorter one is
        better than none, and better than the last resort."""
        decision = self._selector.choose(request, time.time())
        if decision.ranked or request.least_context_tokens >= request.context_tokens:
            return decision
        least = self._selector.choose(replace(request, context_tokens=request.least_context_tokens), time.time())
        kept, other = (least, decision) if least.ranked or decision.chosen is None else (decision, least)
        self._selector.release(other.ticket)
        return kept

    def reweigh(self, weights: RouterWeights, default_model: str, last_resort: str | None) -> None:
        """Choose by these from the next request on."""
        self.default_model = default_model
        self._selector.weights = weights
        self._selector.last_resort = last_resort

    def require(self, name: str, project_id: Hashable = None) -> Model:
        """The model of that name which the project may call: without one, a shared model.

        Raises `UnknownModel`, for another project's adapter as for a name that does not exist.
        """
        if model := self.catalog.find(name, project_id):
            return model
        raise UnknownModel(
            name=name, known=", ".join(model.name for model in self.catalog.of(project_id)) or "no model"
        )

    def replace_adapters(self, models: Iterable[Model]) -> None:
        """Take over the adapters that are served now, those of every project, from the next request on.

        The health of one that came, left or moved is forgotten: its server is another one, or none. Whoever promotes
        one raises the project's routing epoch besides (`cache.bump_epoch`).
        """
        before = _addresses(self.catalog.adapters)
        self.catalog.replace_adapters(models)
        for name, *_ in before ^ _addresses(self.catalog.adapters):
            self.health.discard(name)
        self._update_models()
        self._versions = CatalogVersions(self.catalog)

    def _calculate_model_score(self, model: str, task_type: str, project_id: ProjectId) -> Score | None:
        """The suitability of one model for a task type, from history, specialties and health; None when unknown."""
        return self._selector.score(Request(project_id, task_type), model, time.time())

    async def record_quality(self, project_id: ProjectId, decision_id: UUID, quality: float | None, source: str) -> None:
        """What was measured of an answer, now or later. None counts its speed and cost, and says nothing of quality."""
        opened = self._open.pop(decision_id, None)
        if opened:
            self._selector.release(opened.ticket)
        if self._statistics is None:
            return
        judgement = Judgement(decision_id, quality, QualitySource(source), opened.task_type if opened else None)
        await self._statistics.record(project_id, judgement, at_once=self._is_urgent(project_id, opened, quality))

    async def on_verdict(self, decision_id: UUID, approved: bool) -> None:
        """The guardian has spoken: an approved answer may serve others from the cache, a rejected one never."""
        opened = self._open.get(decision_id)
        if opened is None or opened.lease is None:
            return
        if approved and not opened.answer.completion().truncated:
            await self.cache.store(opened.lease, opened.answer)
        else:
            self.cache.release(opened.lease)

    async def retract(self, project_id: ProjectId, decision_id: UUID) -> None:
        """An answer that was approved is rejected or edited after all: the cache forgets it."""
        await self.cache.drop_decision(project_id, decision_id)

    def discard(self, decision_id: UUID) -> None:
        """No verdict will come (cancelled, lease lost): the decision stops counting as pending."""
        if opened := self._open.pop(decision_id, None):
            self._selector.release(opened.ticket)
            if opened.lease is not None:
                self.cache.release(opened.lease)

    def restore(self, project_id: ProjectId, known: TaskTypeStatistics) -> None:
        """Take over what all replicas know of a task type."""
        cells = {
            model: Statistics(**{**asdict(cell), "last_change": known.last_change})
            for model, cell in known.cells.items()
        }
        self._selector.restore(project_id, known.task_type, known.position, cells)

    def readiness(self) -> Mapping[str, str]:
        """The models that all projects share, as one part of the system: away when none can be called now.

        Adapters are neither named nor counted: this is read by everybody, and they are a project's own.
        """
        now = time.time()
        usable = [model.name for model in self.catalog if not self.health(model.name, now).open]
        if not usable:
            return {"state": "away", "detail": "no model can be called; `kairos model list` shows why"}
        if len(usable) < len(self.catalog):
            down = [model.name for model in self.catalog if model.name not in usable]
            return {"state": "degraded", "detail": f"not callable now: {', '.join(down)}"}
        if self.health.redis_unavailable:
            return {"state": "degraded", "detail": "Redis is away: each replica goes by its own breakers"}
        return {"state": "ok", "detail": f"{len(usable)} in the catalogue"}

    async def _routed(
        self,
        context: CallContext,
        request: ChatRequest,
        emit: Emit,
        listener: StreamListener,
        deadline: float,
        lease: Lease | None,
    ) -> RoutedAnswer:
        if self._statistics is not None:
            await self._statistics.load(context.project_id)
        task_type = await self._task_type(context, request)
        decision_id = new_id()
        wanted = self._request(context, request, task_type, canary_bucket_of(decision_id))
        decision = self.select_model(wanted)
        await self._save_decision(decision_id, context, task_type, decision)
        _log(decision)
        await emit("decision", {"decision_id": str(decision_id), **summary(decision)})
        origin = CallOrigin(context.project_id, context.task_id, context.attempt, decision_id, wanted.task_type)
        calls: list[ModelCall] = []
        answered: str | None = None
        try:
            model, sent, ticket = await self._call_in_order(decision, request, emit, listener, deadline, calls)
            completion = sent.completion
            answered = model.name
        finally:
            await asyncio.shield(self._tracker.record(origin, calls, answered))
        kept = CachedAnswer.of(
            completion, model=model.name, cost_usd=cost_of(model, completion.usage), decision_id=decision_id
        )
        if lease is not None and context.cache is not True and self._is_sampled(model, request):
            self.cache.release(lease)
            lease = None
        self._open[decision_id] = _OpenDecision(ticket, wanted.task_type, model.name, lease, kept)
        return RoutedAnswer(completion, model.name, decision_id, messages=sent.messages, limit=sent.limit)

    def answer_limit(self, model: Model) -> int:
        """Tokens of an answer of this model when nothing else is asked for."""
        return self._caller.answer_limit(model)

    def _update_models(self) -> None:
        """Hand the catalogue to the selector, each model with the context that it really has."""
        models = (*self.catalog, *self.catalog.adapters)
        self._selector.replace_models([replace(model, context=self.contexts.of(model)) for model in models])

    def adjustments(self, model: Model) -> list[str]:
        """What requests to a model leave out or change because its server refused it, in words."""
        return self._providers.traits.of(model).adjustments.described()

    def reset(self, model: Model) -> None:
        """A person tries again: close the breaker, and ask the model for everything anew."""
        self.health.reset(model.name)
        self._providers.traits.forget(model)

    def _is_sampled(self, model: Model, request: ChatRequest) -> bool:
        """Whether an answer that was asked for at temperature 0 was not written so: the cache keeps none of those."""
        return request.temperature is not None and "temperature" in self._providers.traits.of(model).adjustments.dropped

    def _cache_key(self, context: CallContext, request: ChatRequest) -> tuple[CacheKey | None, bool]:
        """The key of a request that may be cached, and whether the caller wants a fresh answer all the same."""
        use = cache_use(request, context.cache, context.cache_control)
        if use is CacheUse.OFF:
            return None, False
        named = self._named(context)
        project_id = context.project_id
        version = model_version(self.require(named, project_id)) if named else self._versions.of(project_id)
        key = cache_key(project_id, request, model=named, version=version, rules=context.rules, checks=context.checks)
        return key, use is CacheUse.REFRESH

    def _named(self, context: CallContext) -> str | None:
        name = context.model or self.default_model
        return None if name == "auto" else name

    async def _task_type(self, context: CallContext, request: ChatRequest) -> TaskType:
        prompt = context.prompt if context.prompt is not None else prompt_of(request.messages)
        return await self._task_types.of(context.project_id, prompt, context.task_type, _input_tokens(request))

    def _request(self, context: CallContext, request: ChatRequest, task_type: TaskType, canary_bucket: float) -> Request:
        input_tokens = _input_tokens(request)
        output_tokens = request.max_tokens or DEFAULT_ANSWER_TOKENS
        prompt_tokens, room = prompt_upper_bound(shortest_messages(request), request.tools), min_room(request)
        return Request(
            project_id=context.project_id,
            task_type=statistics_key(task_type.name, task_type.length),
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            context_tokens=prompt_tokens + (request.max_tokens or room),
            least_context_tokens=prompt_tokens + room,
            capabilities=frozenset({"tools"}) if request.tools else frozenset(),
            local_only=context.local_only,
            session=context.session,
            avoid=context.avoid,
            model=self._named(context),
            canary_bucket=canary_bucket,
        )

    async def _save_decision(self, decision_id: UUID, context: CallContext, task_type: TaskType, decision: Decision) -> None:
        row = DecisionRow(
            project_id=context.project_id,
            id=decision_id,
            task_id=context.task_id,
            attempt=context.attempt,
            task_type=decision.request.task_type,
            task_type_source=task_type.source,
            task_type_confidence=task_type.confidence,
            task_type_reason=task_type.reason,
            length=task_type.length,
            kind=decision.kind,
            chosen=decision.chosen,
            candidates=[asdict(score) for score in decision.candidates],
            excluded=[asdict(exclusion) for exclusion in decision.excluded],
            margin=decision.margin,
        )
        async with self._database.project(context.project_id) as session:
            await history.add_decision(session, row)

    async def _call_in_order(
        self,
        decision: Decision,
        request: ChatRequest,
        emit: Emit,
        listener: StreamListener,
        deadline: float,
        calls: list[ModelCall],
    ) -> tuple[Model, CallResult, int]:
        """Call the chosen model, and on failure the next one by the ranking of that moment, until the deadline."""
        while True:
            assert decision.chosen is not None
            try:
                model = self._chosen_model(decision)
                timeouts = CallTimeouts(deadline - time.monotonic(), len(decision.candidates))
                return model, await self._caller.call(model, request, listener, timeouts, calls), decision.ticket
            except BaseException as error:
                self._selector.release(decision.ticket)
                if not isinstance(error, ModelCallError | ModelBeingProbed | ModelWithdrawn):
                    raise
                await emit("model_failed", {"model": decision.chosen, "code": error.code, "message": str(error)})
                if getattr(error, "partial", "") and not listener.restart():
                    raise  # tokens went out: they cannot be taken back
                decision = self._after_failure(decision, decision.chosen, error, deadline)

    def _chosen_model(self, decision: Decision) -> Model:
        """The chosen model. Raises `ModelWithdrawn` for an adapter that left while the decision was written down."""
        name = decision.chosen or ""
        if model := self.catalog.find(name, decision.request.project_id):
            return model
        raise ModelWithdrawn(model=name)

    def _after_failure(
        self, decision: Decision, failed: str, error: ModelCallError | ModelBeingProbed | ModelWithdrawn, deadline: float
    ) -> Decision:
        """The next choice; the error itself when there is none, or when the time is over."""
        request = replace(decision.request, exclude=decision.request.exclude | {failed})
        if request.model is not None or time.monotonic() >= deadline:
            raise error
        following = self._choose(request)
        if following.chosen is None:
            raise error
        return following

    def _is_urgent(self, project_id: ProjectId, opened: _OpenDecision | None, quality: float | None) -> bool:
        """Whether the others should hear of it at once: little is known of the model yet, or a label came late."""
        if opened is None:
            return True
        known = self._selector.statistics(project_id, opened.task_type, opened.model, time.time())
        return quality is not None and known.n < LITTLE_KNOWN


def summary(decision: Decision) -> dict[str, Any]:
    """A decision in the words of an event: who was chosen, why, and how the candidates stood."""
    return {
        "chosen": decision.chosen,
        "kind": decision.kind,
        "margin": round(decision.margin, 4),
        "candidates": [{"model": score.model, "utility": round(score.utility, 4)} for score in decision.candidates],
        "excluded": [{"model": exclusion.model, "reason": exclusion.reason} for exclusion in decision.excluded],
    }


def _log(decision: Decision) -> None:
    """One line a decision: how the scores stood, so that they are seen to move."""
    stood = ", ".join(f"{score.model} {score.utility:.3f} (quality {score.mu:.2f})" for score in decision.candidates)
    log.info("decision: %s by %s of %s", decision.chosen, decision.kind, stood)


def _input_tokens(request: ChatRequest) -> float:
    return sum(len(str(message.get("content") or "")) for message in request.messages) / CHARACTERS_PER_TOKEN


def _addresses(models: Iterable[Model]) -> set[tuple[str, str, str, str | None]]:
    """Where each is found: what a breaker is of (`shared_breakers.identity`)."""
    return {(model.name, model.base_url, model.upstream, model.api_key) for model in models}
