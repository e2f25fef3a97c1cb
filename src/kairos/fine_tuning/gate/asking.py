"""Calls to models for the gate: direct, since they are not project traffic and must not influence the router."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from typing import Any

from kairos.fine_tuning.adapters.model_copies import ModelCopies
from kairos.llm.calls.providers import ChatRequest, Completion, ModelCallError, Providers
from kairos.llm.catalog.catalog import Model

log = logging.getLogger(__name__)

ANSWER_TOKENS = 256
CONTROL_TOKENS = 40
"""A right answer to a control prompt begins with, or contains early, one of its terms."""
REPLAY_TOKENS = 160
CALL_S = 180.0
TRIES = 3
PAUSES_S = (0.5, 2.0)


async def ask(providers: Providers, model: Model, request: ChatRequest) -> Completion:
    """Return the answer. Transient failures are retried. Raises `ModelCallError`."""
    for left in reversed(range(TRIES)):
        try:
            return await providers.chat(model, request, timeout_s=CALL_S)
        except ModelCallError as error:
            if not left or error.permanent:
                raise
            log.warning("retrying the call to %s: %s", model.name, error)
            await asyncio.sleep(random.uniform(*PAUSES_S))
    raise AssertionError("the last try returns or raises")


class ModelCalls:
    """Spreads calls over the copies of a model, within the limit of each."""

    def __init__(self, providers: Providers, copies: ModelCopies) -> None:
        self._providers = providers
        self._free: asyncio.Queue[Model] = asyncio.Queue()
        self.at_once = copies.at_once
        """Further calls wait."""
        for model in copies.models * copies.calls_each:
            self._free.put_nowait(model)

    async def ask(self, request: ChatRequest) -> Completion:
        """Return the answer. Raises `ModelCallError`."""
        model = await self._free.get()
        try:
            return await ask(self._providers, model, request)
        finally:
            self._free.put_nowait(model)


def greedy(messages: Sequence[Mapping[str, Any]], tokens: int = ANSWER_TOKENS) -> ChatRequest:
    """Return a request at temperature 0."""
    return ChatRequest(messages=tuple(messages), temperature=0.0, max_tokens=tokens)
