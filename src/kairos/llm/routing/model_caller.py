"""Calls one model with a request that fits its context, under its circuit breaker, and records the result."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from kairos.llm.calls.answer_limits import AnswerLimit, PromptTooLong, default_limit, fitted
from kairos.llm.calls.model_calls import failed_call, stopped_call, successful_call
from kairos.llm.calls.model_traits import Traits
from kairos.llm.calls.prompt_cut import ModelPromptCut, check_prompt
from kairos.llm.calls.providers import ChatRequest, ModelCallError, ModelRequestInvalid, ModelTimeout, Providers
from kairos.llm.calls.refused_limits import refused_context
from kairos.llm.calls.served_context import ModelContexts
from kairos.llm.catalog.catalog import Model
from kairos.llm.health.health import ModelHealth
from kairos.llm.routing.call_terms import CallResult, CallTimeouts, Speeds, StreamListener
from kairos.llm.routing.routing_errors import ModelBeingProbed
from kairos.llm.routing.selection import ModelSelector
from kairos.monitoring.performance_tracker import ModelCall

log = logging.getLogger(__name__)

Fit = tuple[ChatRequest, AnswerLimit]
"""A request that fits the model's context, and the limit of its answer in tokens."""

RETRIES = 2
"""One with the context size that the server reported or revealed, one without a limit."""
IGNORED_PERMIT = -1
"""A permit of no generation: the breaker ignores its result."""


class ModelCaller:
    """Executes the calls that the router decided on."""

    def __init__(
        self,
        selector: ModelSelector,
        health: ModelHealth,
        providers: Providers,
        contexts: ModelContexts,
        may_probe: Callable[[str], Awaitable[bool]],
    ) -> None:
        self._selector = selector
        self._health = health
        self._providers = providers
        self._contexts = contexts
        self._may_probe = may_probe
        self._speeds = Speeds()

    def answer_limit(self, model: Model) -> int:
        """Return the default limit of this model's answers in tokens."""
        allowed = self._providers.traits.of(model).adjustments.answer_tokens
        return default_limit(model, self._contexts.of(model), self._speeds.of(model.name), allowed)

    async def call(
        self,
        model: Model,
        request: ChatRequest,
        listener: StreamListener,
        timeouts: CallTimeouts,
        calls: list[ModelCall],
    ) -> CallResult:
        """Call one model. Retries if the server refused the limit of the answer, reported a smaller context, or
        truncated a prompt that has a shorter form."""
        began = time.monotonic()
        fit = self._fitted(model, request)
        for _ in range(RETRIES):
            try:
                return await self._called(model, fit, listener, timeouts.after(time.monotonic() - began), calls)
            except (ModelRequestInvalid, ModelPromptCut) as error:
                following = (
                    self._after_cut(model, request, fit, error, listener)
                    if isinstance(error, ModelPromptCut)
                    else self._after_refusal(model, request, fit, error)
                )
                if following is None:
                    raise
                fit = following
        return await self._called(model, fit, listener, timeouts.after(time.monotonic() - began), calls)

    def _after_refusal(self, model: Model, request: ChatRequest, fit: Fit, error: ModelRequestInvalid) -> Fit | None:
        """Return an adjusted request to retry with, or None if a retry cannot help. Raises `PromptTooLong`."""
        context = refused_context(error.reason)
        if self._learn_context(model, context):
            return self._fitted(model, request)
        sent, limit = fit
        # The server counts more prompt tokens than Kairos. Without a limit, it uses the remaining context.
        if context is None or not sent.own_limit:
            return None
        return replace(sent, max_tokens=None, own_limit=False), limit

    def _after_cut(
        self, model: Model, request: ChatRequest, fit: Fit, error: ModelPromptCut, listener: StreamListener
    ) -> Fit | None:
        """Return a shorter form of the request that fits the detected context. None if there is none, or if streamed
        text cannot be retracted."""
        try:
            following = self._fitted(model, request)
        except PromptTooLong:
            return None
        if following[0].messages == fit[0].messages or (error.partial and not listener.restart()):
            return None
        return following

    async def _called(
        self, model: Model, fit: Fit, listener: StreamListener, timeouts: CallTimeouts, calls: list[ModelCall]
    ) -> CallResult:
        started = time.monotonic()
        sent, limit = fit
        permit = await self._permit(model)
        try:
            completion = await self._providers.chat(
                model,
                sent,
                timeout_s=timeouts.timeout_s,
                first_token_s=timeouts.first_token_s,
                on_delta=listener.on_delta,
                on_restart=listener.on_restart,
            )
            check_prompt(model, sent, completion, self._contexts.of(model), self._contexts.served(model))
        except ModelCallError as error:
            if isinstance(error, ModelTimeout) and timeouts.short:
                error.infrastructure = False
            if isinstance(error, ModelPromptCut):
                self._learn_context(model, error.context)
            self._health.failed(model.name, permit, error, time.time())
            calls.append(failed_call(model, error, time.monotonic() - started))
            raise
        except BaseException:
            self._health.abandoned(model.name, permit)
            calls.append(stopped_call(model, time.monotonic() - started))
            raise
        self._health.succeeded(model.name, permit, time.time(), completion.first_token_s)
        self._speeds.add(model.name, completion)
        if model.runner:
            self._selector.loaded(model.runner, model.name)
        calls.append(successful_call(model, completion))
        return CallResult(completion, sent.messages, limit)

    def _fitted(self, model: Model, request: ChatRequest) -> Fit:
        return fitted(model, request, self._contexts.of(model), self.answer_limit(model))

    def _learn_context(self, model: Model, context: int | None) -> bool:
        """Save the context size that a call revealed if it is smaller than the known one. Returns whether it is."""
        if context is None or context >= self._contexts.of(model):
            return False
        log.warning("model %s: the server has a context of %d tokens", model.name, context)
        self._providers.traits.learn(model, Traits(context=context))
        return True

    async def _permit(self, model: Model) -> int:
        """Return the breaker's permit for a call.

        Raises `ModelBeingProbed` if another call, here or on another replica, is probing the model. The last resort is
        called even if its breaker is open; the breaker ignores the result.
        """
        now = time.time()
        probe = self._health.is_probe(model.name, now)
        permit = self._health.acquire(model.name, now)
        if permit is not None and probe and not await self._may_probe(model.name):
            # The local state was stale: another call is the probe, or has already closed the breaker.
            permit = None if self._health.is_probe(model.name, now) else self._health.acquire(model.name, now)
        if permit is None and model.name == self._selector.last_resort:
            return IGNORED_PERMIT
        if permit is None:
            raise ModelBeingProbed(model=model.name)
        return permit
