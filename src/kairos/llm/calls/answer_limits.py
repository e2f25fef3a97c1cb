"""How long an answer may be: what was asked for, else the model's default, and never more than its context holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from kairos.llm.calls.call_errors import ModelCallError
from kairos.llm.calls.prompt_size import prompt_upper_bound, vocabulary_of
from kairos.llm.calls.providers import ChatRequest
from kairos.llm.catalog.catalog import Model

LOCAL_TOKENS = 2_048
CLOUD_TOKENS = 16_384
"""Models that think before they answer count that too."""
MAX_DURATION_S = 120.0
"""An answer of the default length takes no longer, at the speed that was measured."""
MIN_TOKENS = 128
"""Tokens: no default is lower, and a prompt that leaves less room for its answer does not fit."""
STEP = 64

Messages = tuple[Mapping[str, Any], ...]


class LimitSource(StrEnum):
    """Where the limit of an answer comes from."""

    ASKED = "asked"
    DEFAULT = "default"
    CONTEXT = "context"
    """The prompt leaves no more room."""


@dataclass(frozen=True, slots=True)
class AnswerLimit:
    """The most tokens that an answer may have."""

    tokens: int
    source: LimitSource


class PromptTooLong(ModelCallError):
    """The model {model} is not asked: {reason}. Shorten the prompt, or name a model with a larger context."""

    status, code = 422, "prompt_too_long"
    retryable = False


def default_limit(model: Model, context: int, tokens_per_s: float | None, allowed: int | None = None) -> int:
    """Tokens of an answer when the task sets no limit: a quarter of the context, and what two minutes give.

    `allowed` is the most that the model's server lets a request ask for.
    """
    tokens = min(context // 4, LOCAL_TOKENS if model.local else CLOUD_TOKENS)
    if tokens_per_s is not None:
        tokens = min(tokens, int(tokens_per_s * MAX_DURATION_S))
    tokens = max(MIN_TOKENS, tokens // STEP * STEP)
    return tokens if allowed is None else min(tokens, allowed)


def min_room(request: ChatRequest) -> int:
    """Tokens of answer below which a prompt does not fit."""
    return min(MIN_TOKENS, request.max_tokens or MIN_TOKENS)


def shortest_messages(request: ChatRequest) -> Messages:
    """The messages in their shortest_messages form."""
    return request.shorter[-1] if request.shorter else request.messages


def fitted(model: Model, request: ChatRequest, context: int, default: int) -> tuple[ChatRequest, AnswerLimit]:
    """The request in the longest form that the context holds, with a limit on its answer.

    Raises `PromptTooLong`.
    """
    prompt = 0
    for messages in (request.messages, *request.shorter):
        prompt = prompt_upper_bound(messages, request.tools, vocabulary_of(model))
        if context - prompt >= min_room(request):
            limit = _limit(request.max_tokens, default, context - prompt)
            own = request.max_tokens is None
            return replace(request, messages=messages, shorter=(), max_tokens=limit.tokens, own_limit=own), limit
    reason = f"a prompt of up to {prompt} tokens leaves no room for an answer in its context of {context}"
    raise PromptTooLong(model=model.name, reason=reason)


def _limit(asked: int | None, default: int, room: int) -> AnswerLimit:
    wanted = AnswerLimit(default, LimitSource.DEFAULT) if asked is None else AnswerLimit(asked, LimitSource.ASKED)
    return wanted if wanted.tokens <= room else AnswerLimit(room, LimitSource.CONTEXT)
