"""Calls to models for the gate: direct, since they are not project traffic and must not influence the router."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from typing import Any

from kairos.llm.calls.providers import ChatRequest, Completion, ModelCallError, Providers
from kairos.llm.catalog.catalog import Model

log = logging.getLogger(__name__)

ANSWER_TOKENS = 256
CONTROL_TOKENS = 40
"""A right answer to a control prompt begins with, or contains early, one of its terms."""
REPLAY_TOKENS = 160
CALL_S = 180.0
AT_ONCE = 2
"""Calls to one model at once: more would keep other callers of its server waiting."""
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


def greedy(messages: Sequence[Mapping[str, Any]], tokens: int = ANSWER_TOKENS) -> ChatRequest:
    """Return a request at temperature 0."""
    return ChatRequest(messages=tuple(messages), temperature=0.0, max_tokens=tokens)
