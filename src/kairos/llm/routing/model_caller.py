"""Calls one model: with a request that fits it, under its breaker, and keeps what the call showed of it."""

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
from kairos.llm.routing.call_terms import Answered, Hearer, Patience, Speeds
from kairos.llm.routing.routing_errors import BeingProbed
from kairos.llm.routing.selection import ModelSelector
from kairos.monitoring.performance_tracker import ModelCall

log = logging.getLogger(__name__)

Fit = tuple[ChatRequest, AnswerLimit]
"""A request that the model's context holds, and the most tokens that its answer may have."""

RETRIES = 2
"""One with the context that the server named or showed, one without a limit."""
UNCOUNTED = -1
"""A permit of no generation: the breaker ignores what it reports."""


class ModelCaller:
    """Makes the calls that the router decided on."""

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
        """Tokens of an answer of this model when nothing else is asked for."""
        allowed = self._providers.traits.of(model).adjustments.answer_tokens
        return default_limit(model, self._contexts.of(model), self._speeds.of(model.name), allowed)

    async def call(
        self, model: Model, request: ChatRequest, hearer: Hearer, patience: Patience, calls: list[ModelCall]
    ) -> Answered:
        """One model; asked again where its server refused the limit of the answer, named a smaller context, or cut a
        prompt that has a shorter form."""
        began = time.monotonic()
        fit = self._fitted(model, request)
        for _ in range(RETRIES):
            try:
                return await self._called(model, fit, hearer, patience.after(time.monotonic() - began), calls)
            except (ModelRequestInvalid, ModelPromptCut) as error:
                following = (
                    self._after_cut(model, request, fit, error, hearer)
                    if isinstance(error, ModelPromptCut)
                    else self._after_refusal(model, request, fit, error)
                )
                if following is None:
                    raise
                fit = following
        return await self._called(model, fit, hearer, patience.after(time.monotonic() - began), calls)

    def _after_refusal(self, model: Model, request: ChatRequest, fit: Fit, error: ModelRequestInvalid) -> Fit | None:
        """The request for another try; None where none would help. Raises `PromptTooLong`."""
        context = refused_context(error.reason)
        if self._learn_context(model, context):
            return self._fitted(model, request)
        sent, limit = fit
        # The server counts more tokens in the prompt than Kairos does. Without a limit, it takes what room there is.
        if context is None or not sent.own_limit:
            return None
        return replace(sent, max_tokens=None, own_limit=False), limit

    def _after_cut(
        self, model: Model, request: ChatRequest, fit: Fit, error: ModelPromptCut, hearer: Hearer
    ) -> Fit | None:
        """A shorter form of the request, which the context that was found holds; None where there is none, or where
        text went out that cannot be taken back."""
        try:
            following = self._fitted(model, request)
        except PromptTooLong:
            return None
        if following[0].messages == fit[0].messages or (error.partial and not hearer.restarted()):
            return None
        return following

    async def _called(
        self, model: Model, fit: Fit, hearer: Hearer, patience: Patience, calls: list[ModelCall]
    ) -> Answered:
        started = time.monotonic()
        sent, limit = fit
        permit = await self._permit(model)
        try:
            completion = await self._providers.chat(
                model,
                sent,
                timeout_s=patience.timeout_s,
                first_token_s=patience.first_token_s,
                on_delta=hearer.on_delta,
                on_restart=hearer.on_restart,
            )
            check_prompt(model, sent, completion, self._contexts.of(model), self._contexts.served(model))
        except ModelCallError as error:
            if isinstance(error, ModelTimeout) and patience.short:
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
        return Answered(completion, sent.messages, limit)

    def _fitted(self, model: Model, request: ChatRequest) -> Fit:
        return fitted(model, request, self._contexts.of(model), self.answer_limit(model))

    def _learn_context(self, model: Model, context: int | None) -> bool:
        """Remember the context that a call showed, where it is smaller than what was known."""
        if context is None or context >= self._contexts.of(model):
            return False
        log.warning("model %s: its server serves a context of %d tokens", model.name, context)
        self._providers.traits.learn(model, Traits(context=context))
        return True

    async def _permit(self, model: Model) -> int:
        """Raises `BeingProbed` where another call, here or in another replica, is trying the model.

        The last resort is called although its breaker is open; what becomes of that call says nothing to the breaker.
        """
        now = time.time()
        probe = self._health.is_probe(model.name, now)
        permit = self._health.acquire(model.name, now)
        if permit is not None and probe and not await self._may_probe(model.name):
            # It was old news that the breaker waits for its probe: another call is that, or has closed it by now.
            permit = None if self._health.is_probe(model.name, now) else self._health.acquire(model.name, now)
        if permit is None and model.name == self._selector.last_resort:
            return UNCOUNTED
        if permit is None:
            raise BeingProbed(model=model.name)
        return permit
