"""The model router: answers a request from the cache or calls the best model, with fallback, and records the result.
The choice itself is in `selection.py`, synchronous and in memory.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any
from uuid import UUID

from kairos.components import ComponentState, ComponentStatus
from kairos.db.engine import Database, Session
from kairos.db.models import DecisionRow, EventKind
from kairos.db.repositories.routing.statistics import Judgement, QualitySource, TaskTypeStatistics
from kairos.db.repositories.tasks import history
from kairos.llm.cache.cached_answer import CachedAnswer
from kairos.llm.cache.response_cache import Hit, Lease, ResponseCache
from kairos.llm.cache.response_key import CacheKey, CacheUse, CatalogVersions, cache_key, cache_use, model_version
from kairos.llm.calls.answer_limits import min_room, shortest_messages
from kairos.llm.calls.model_calls import cost_of
from kairos.llm.calls.prompt_size import prompt_upper_bound
from kairos.llm.calls.providers import ChatRequest, ModelCallError, Providers
from kairos.llm.calls.served_context import ModelContexts
from kairos.llm.catalog.catalog import Catalog, Model
from kairos.llm.health.health import ModelHealth
from kairos.llm.routing.call_terms import (
    CallContext,
    CallResult,
    CallTimeouts,
    OnDelta,
    OnRestart,
    RoutedAnswer,
    StreamListener,
)
from kairos.llm.routing.decision import Decision, Request, ScoredCandidate, canary_bucket_of, summary
from kairos.llm.routing.live_models import LiveModels
from kairos.llm.routing.model_caller import ModelCaller
from kairos.llm.routing.routing_errors import ModelBeingProbed, ModelWithdrawn, UnknownModel, no_candidate_error
from kairos.llm.routing.selection import ModelSelector, ScoreInputs
from kairos.llm.routing.statistics import RouterWeights, Statistics
from kairos.llm.routing.task_types import TaskType, TaskTypes, prompt_of, statistics_key
from kairos.model_names import AUTO
from kairos.monitoring.performance_tracker import CallOrigin, ModelCall, add_calls
from kairos.monitoring.shared_statistics import MeasuredAnswer, SharedStatistics, StoreQualities, store_nothing
from kairos.tenancy import ProjectId, new_id

log = logging.getLogger(__name__)

CHARACTERS_PER_TOKEN = 4
"""For estimating the cost before a call. Recorded costs use the server's counts, and `prompt_size` decides what fits
into a context."""
DEFAULT_ANSWER_TOKENS = 512
FEW_OBSERVATIONS = 50
"""With fewer measured answers than this, each one is shared immediately (docs/router.md)."""

Emit = Callable[[EventKind, Mapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _OpenDecision:
    """A decision whose answer has no verdict yet."""

    ticket: int
    task_type: str
    model: str
    lease: Lease | None
    answer: CachedAnswer


class LLMRouter:
    """Chooses a model from measured quality, cost, latency and health, and calls it."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        selector: ModelSelector,
        health: ModelHealth,
        providers: Providers,
        task_types: TaskTypes,
        cache: ResponseCache,
        database: Database,
        may_probe: Callable[[str], Awaitable[bool]],
        default_model: str = AUTO,
    ) -> None:
        self.catalog = catalog
        self.health = health
        self.cache = cache
        self._selector = selector
        self._providers = providers
        self._task_types = task_types
        self._database = database
        self.default_model = default_model
        """`auto`, or the model for all calls that do not name one."""
        self.contexts = ModelContexts(providers.traits)
        self._caller = ModelCaller(selector, health, providers, self.contexts, may_probe)
        providers.traits.changed = self.contexts.changed = self._update_models
        self.live = LiveModels(catalog, health, self.contexts, self._on_catalog_change)
        providers.current = self.live.current
        self._statistics: SharedStatistics | None = None
        self._open: dict[UUID, _OpenDecision] = {}
        self._on_catalog_change()

    def use_statistics(self, statistics: SharedStatistics) -> None:
        """Use these shared statistics from now on. They pass loaded rows to `restore`."""
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
        """Answer a chat request from the cache, or with the best model available. `emit` receives each step as an
        event.

        `on_delta` receives the text while it streams. If an answer breaks off after that, the next model restarts it
        only if `on_restart` can announce this to the client. Raises `NoModelAvailable`, `NoSuitableModel`,
        `UnknownModel`, or the error of the last model tried.
        """
        deadline = time.monotonic() + timeout_s
        key, refresh = self._cache_key(context, request)
        lease = None
        if key is not None:
            found = await self.cache.lookup(key, refresh=refresh, wait_s=timeout_s)
            if isinstance(found, Hit):
                await emit(
                    EventKind.CACHE_HIT, {"model": found.answer.model, "decision_id": str(found.answer.decision_id)}
                )
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
        """Return the decision for the best healthy and suitable model, with all score terms. Raises if there is
        none."""
        if request.model is not None:
            self.require(request.model, request.project_id)
        decision = self._choose(request)
        if decision.chosen is None:
            raise no_candidate_error(decision)
        return decision

    def _choose(self, request: Request) -> Decision:
        """Choose a model. If no context holds the longest allowed answer, a shorter answer is preferred to none and to
        the last resort."""
        decision = self._selector.choose(request, time.time(), self._calculate_model_score)
        if decision.ranked or request.min_context_tokens >= request.context_tokens:
            return decision
        shorter = replace(request, context_tokens=request.min_context_tokens)
        least = self._selector.choose(shorter, time.time(), self._calculate_model_score)
        kept, other = (least, decision) if least.ranked or decision.chosen is None else (decision, least)
        self._selector.release(other.ticket)
        return kept

    def reweigh(self, weights: RouterWeights, default_model: str, last_resort: str | None) -> None:
        """Apply these weights and defaults from the next request on."""
        self.default_model = default_model
        self._selector.reweigh(weights, last_resort)

    def require(self, name: str, project_id: Hashable = None) -> Model:
        """Return the model of that name that the project may call. Without a project, only shared models are found.

        Raises `UnknownModel`, also for another project's adapter.
        """
        if model := self.catalog.find(name, project_id):
            return model
        raise UnknownModel(
            name=name, known=", ".join(model.name for model in self.catalog.of(project_id)) or "no model"
        )

    def replace_adapters(self, models: Iterable[Model]) -> None:
        """Replace the served adapters of all projects from the next request on.

        The caller that promotes an adapter must also raise the project's routing epoch (`cache.bump_epoch`).
        """
        self.live.replace_adapters(models)

    def _calculate_model_score(
        self, model: str, task_type: str, project_id: Hashable, inputs: ScoreInputs | None = None
    ) -> ScoredCandidate | None:
        """Return the score of a model for a task type, from history, specialties and health; None if unknown.

        `inputs` are those of a request that is being routed; by default those of a short request made now.
        """
        inputs = inputs or self._selector.score_inputs(Request(project_id, task_type), model, time.time())
        return None if inputs is None else self._selector.calculate_score(inputs)

    async def record_quality(
        self, project_id: ProjectId, decision_id: UUID, quality: float | None, source: str
    ) -> None:
        """Record the measured quality of an answer, now or later. None counts only its speed and cost."""
        await self.record_measured(project_id, [self.measure(project_id, decision_id, quality, source)])

    async def record_measured(self, project_id: ProjectId, measured: Sequence[MeasuredAnswer]) -> None:
        """Record measured qualities in transactions of their own."""
        if self._statistics is not None:
            await self._statistics.record_all(project_id, measured)

    def measure(self, project_id: ProjectId, decision_id: UUID, quality: float | None, source: str) -> MeasuredAnswer:
        """Stop counting a decision as pending. The caller stores the result with `store_qualities`."""
        opened = self._open.pop(decision_id, None)
        if opened:
            self._selector.release(opened.ticket)
        judgement = Judgement(decision_id, quality, QualitySource(source), opened.task_type if opened else None)
        return MeasuredAnswer(judgement, self._is_urgent(project_id, opened, quality))

    def storing_qualities(
        self, project_id: ProjectId, measured: Sequence[MeasuredAnswer]
    ) -> AbstractAsyncContextManager[StoreQualities]:
        """As `SharedStatistics.storing`; without statistics nothing is stored."""
        if self._statistics is not None:
            return self._statistics.storing(project_id, measured)
        return nullcontext(store_nothing)

    async def on_verdict(self, decision_id: UUID, approved: bool) -> None:
        """Handle the guardian's verdict: approved answers may be stored in the cache, rejected ones are not."""
        opened = self._open.get(decision_id)
        if opened is None or opened.lease is None:
            return
        if approved and not opened.answer.completion().truncated:
            await self.cache.store(opened.lease, opened.answer)
        else:
            self.cache.release(opened.lease)

    async def retract(self, project_id: ProjectId, decision_id: UUID) -> None:
        """Remove an approved answer from the cache after it was rejected or edited."""
        await self.cache.drop_decision(project_id, decision_id)

    def discard(self, decision_id: UUID) -> None:
        """Stop counting a decision as pending, because it gets no verdict (task cancelled, lease lost)."""
        if opened := self._open.pop(decision_id, None):
            self._selector.release(opened.ticket)
            if opened.lease is not None:
                self.cache.release(opened.lease)

    def restore(self, project_id: ProjectId, known: TaskTypeStatistics) -> None:
        """Load the statistics of a task type that all replicas share."""
        cells = {
            model: Statistics(**{**asdict(cell), "last_change": known.last_change})
            for model, cell in known.cells.items()
        }
        self._selector.restore(project_id, known.task_type, known.position, cells)

    def readiness(self) -> ComponentStatus:
        """Return the state of the shared models as one system component: "away" if none can be called.

        Adapters are neither named nor counted: everyone may read this, and adapters belong to a project.
        """
        now = time.time()
        usable = [model.name for model in self.catalog if not model.problem and not self.health(model.name, now).open]
        if not usable:
            return ComponentStatus(ComponentState.AWAY, "no model can be called; see `kairos model list`")
        if len(usable) < len(self.catalog):
            down = [model.name for model in self.catalog if model.name not in usable]
            return ComponentStatus(ComponentState.DEGRADED, f"unavailable now: {', '.join(down)}")
        if self.health.redis_unavailable:
            detail = "Redis is unavailable: each replica uses its own circuit breakers"
            return ComponentStatus(ComponentState.DEGRADED, detail)
        return ComponentStatus(ComponentState.OK, f"{len(usable)} in the catalogue")

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
        await emit(EventKind.DECISION, {"decision_id": str(decision_id), **summary(decision)})
        origin = CallOrigin(context.project_id, context.task_id, context.attempt, decision_id, wanted.task_type)
        calls: list[ModelCall] = []
        answered: str | None = None
        try:
            model, sent, ticket = await self._call_in_order(decision, request, emit, listener, deadline, calls)
            completion = sent.completion
            answered = model.name
        finally:
            write = partial(add_calls, origin=origin, calls=calls, answered=answered)
            await asyncio.shield(self._store(context, write))
        kept = CachedAnswer.of(
            completion,
            model=model.name,
            cost_usd=cost_of(model, completion.usage, completion.duration_s),
            decision_id=decision_id,
        )
        if lease is not None and context.options.cache is not True and self._is_sampled(model, request):
            self.cache.release(lease)
            lease = None
        self._open[decision_id] = _OpenDecision(ticket, wanted.task_type, model.name, lease, kept)
        return RoutedAnswer(completion, model.name, decision_id, messages=sent.messages, limit=sent.limit)

    def answer_limit(self, model: Model) -> int:
        """Return the default limit of this model's answers in tokens."""
        return self._caller.answer_limit(model)

    def _on_catalog_change(self) -> None:
        self._update_models()
        self._versions = CatalogVersions(self.catalog)

    def _update_models(self) -> None:
        """Update the selector with all models and their effective context sizes."""
        models = self.catalog.every
        self._selector.replace_models([replace(model, context=self.contexts.of(model)) for model in models])

    def adjustments(self, model: Model) -> list[str]:
        """Return descriptions of the parameters that are omitted or changed for a model because its server refused
        them."""
        return self._providers.traits.of(model).adjustments.described()

    def reset(self, model: Model) -> None:
        """Close a model's circuit breaker and discard everything learned about its parameters, at a user's request."""
        self.health.reset(model.name)
        self._providers.traits.discard(model)

    def _is_sampled(self, model: Model, request: ChatRequest) -> bool:
        """Whether an answer requested at temperature 0 was sampled anyway, because the server refuses the parameter.
        Such answers are not cached."""
        return request.temperature is not None and "temperature" in self._providers.traits.of(model).adjustments.dropped

    def _cache_key(self, context: CallContext, request: ChatRequest) -> tuple[CacheKey | None, bool]:
        """Return the cache key, None if the request is not cacheable, and whether the caller requires a fresh
        answer."""
        use = cache_use(request, context.options.cache, context.cache_control)
        if use is CacheUse.OFF:
            return None, False
        named = self._named(context)
        project_id = context.project_id
        version = model_version(self.require(named, project_id)) if named else self._versions.of(project_id)
        key = cache_key(project_id, request, model=named, version=version, rules=context.rules, checks=context.checks)
        return key, use is CacheUse.REFRESH

    def _named(self, context: CallContext) -> str | None:
        name = context.options.model or self.default_model
        return None if name == AUTO else name

    async def _task_type(self, context: CallContext, request: ChatRequest) -> TaskType:
        prompt = context.prompt if context.prompt is not None else prompt_of(request.messages)
        return await self._task_types.of(context.project_id, prompt, context.task_type, _input_tokens(request))

    def _request(
        self, context: CallContext, request: ChatRequest, task_type: TaskType, canary_bucket: float
    ) -> Request:
        input_tokens = _input_tokens(request)
        output_tokens = request.max_tokens or DEFAULT_ANSWER_TOKENS
        prompt_tokens, room = prompt_upper_bound(shortest_messages(request), request.tools), min_room(request)
        return Request(
            project_id=context.project_id,
            task_type=statistics_key(task_type.name, task_type.length),
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            context_tokens=prompt_tokens + (request.max_tokens or room),
            min_context_tokens=prompt_tokens + room,
            capabilities=frozenset({"tools"}) if request.tools else frozenset(),
            local_only=context.local_only,
            session=context.options.session,
            avoid=context.avoid,
            model=self._named(context),
            canary_bucket=canary_bucket,
        )

    async def _save_decision(
        self, decision_id: UUID, context: CallContext, task_type: TaskType, decision: Decision
    ) -> None:
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
        decided = time.monotonic()

        async def write(session: Session) -> None:
            await history.add_decision(session, row, age_s=time.monotonic() - decided)

        await self._store(context, write)

    async def _store(self, context: CallContext, write: Callable[[Session], Awaitable[None]]) -> None:
        """Store a record of the call: at once, or with the other rows of its attempt."""
        if context.journal is not None:
            return context.journal.record(write)
        async with self._database.project(context.project_id) as session:
            await write(session)

    async def _call_in_order(
        self,
        decision: Decision,
        request: ChatRequest,
        emit: Emit,
        listener: StreamListener,
        deadline: float,
        calls: list[ModelCall],
    ) -> tuple[Model, CallResult, int]:
        """Call the chosen model and, on failure, the next-ranked one, until the deadline."""
        while True:
            assert decision.chosen is not None
            chosen = self.catalog.get(decision.chosen)
            try:
                model = self._chosen_model(decision)
                timeouts = CallTimeouts(deadline - time.monotonic(), len(decision.candidates))
                return model, await self._caller.call(model, request, listener, timeouts, calls), decision.ticket
            except BaseException as error:
                self._selector.release(decision.ticket)
                if not isinstance(error, ModelCallError | ModelBeingProbed | ModelWithdrawn):
                    raise
                await emit(
                    EventKind.MODEL_FAILED, {"model": decision.chosen, "code": error.code, "message": str(error)}
                )
                if getattr(error, "partial", "") and not listener.restart():
                    raise  # streamed tokens cannot be retracted
                decision = self._after_failure(decision, chosen, error, deadline)

    def _chosen_model(self, decision: Decision) -> Model:
        """Return the chosen model. Raises `ModelWithdrawn` if the adapter was removed while the decision was saved."""
        name = decision.chosen or ""
        if model := self.catalog.find(name, decision.request.project_id):
            return model
        raise ModelWithdrawn(model=name)

    def _after_failure(
        self,
        decision: Decision,
        called: Model | None,
        error: ModelCallError | ModelBeingProbed | ModelWithdrawn,
        deadline: float,
    ) -> Decision:
        """Return the next decision. Raises the error if there is none or the deadline has passed.

        A model whose key or address was changed during the call may be chosen again.
        """
        failed = decision.chosen or ""
        changed = self.live.was_changed(called)
        request = decision.request
        if not changed:
            request = replace(request, exclude=request.exclude | {failed})
        if (request.model is not None and not changed) or time.monotonic() >= deadline:
            raise error
        following = self._choose(request)
        if following.chosen is None:
            raise error
        return following

    def _is_urgent(self, project_id: ProjectId, opened: _OpenDecision | None, quality: float | None) -> bool:
        """Whether to share a result with other replicas immediately: little is known about the model, or a label came
        late."""
        if opened is None:
            return True
        known = self._selector.statistics(project_id, opened.task_type, opened.model, time.time())
        return quality is not None and known.n < FEW_OBSERVATIONS


def _log(decision: Decision) -> None:
    """Log a decision with the scores of its candidates."""
    scores = ", ".join(f"{score.model} {score.utility:.3f} (quality {score.mu:.2f})" for score in decision.candidates)
    log.info("decision: %s by %s of %s", decision.chosen, decision.kind, scores)


def _input_tokens(request: ChatRequest) -> float:
    return sum(len(str(message.get("content") or "")) for message in request.messages) / CHARACTERS_PER_TOKEN
