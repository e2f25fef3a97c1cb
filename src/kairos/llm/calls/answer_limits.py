"""Token limits of answers: the requested limit or the model's default, bounded by the model's context."""

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
"""Includes the reasoning tokens of reasoning models."""
MAX_DURATION_S = 120.0
"""Maximum duration of an answer of the default length, at the measured speed."""
MIN_TOKENS = 128
"""Minimum default limit. A prompt that leaves less room for its answer does not fit."""
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
    """The maximum number of tokens of an answer."""

    tokens: int
    source: LimitSource


class PromptTooLong(ModelCallError):
    """The model {model} was not called: {reason}. Shorten the prompt, or name a model with a larger context."""

    status, code = 422, "prompt_too_long"
    retryable = False


def default_limit(model: Model, context: int, tokens_per_s: float | None, allowed: int | None = None) -> int:
    """Return the default limit of an answer in tokens: at most a quarter of the context, and two minutes' worth.

    `allowed` is the most that the model's server accepts.
    """
    tokens = min(context // 4, LOCAL_TOKENS if model.local else CLOUD_TOKENS)
    if tokens_per_s is not None:
        tokens = min(tokens, int(tokens_per_s * MAX_DURATION_S))
    tokens = max(MIN_TOKENS, tokens // STEP * STEP)
    return tokens if allowed is None else min(tokens, allowed)


def min_room(request: ChatRequest) -> int:
    """Return the minimum room for an answer, in tokens. A prompt that leaves less does not fit."""
    return min(MIN_TOKENS, request.max_tokens or MIN_TOKENS)


def shortest_messages(request: ChatRequest) -> Messages:
    """Return the messages in their shortest form."""
    return request.shorter[-1] if request.shorter else request.messages


def fitted(model: Model, request: ChatRequest, context: int, default: int) -> tuple[ChatRequest, AnswerLimit]:
    """Return the request in the longest form that fits the context, with a limit on its answer.

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


def _limit(requested: int | None, default: int, room: int) -> AnswerLimit:
    wanted = (
        AnswerLimit(default, LimitSource.DEFAULT) if requested is None else AnswerLimit(requested, LimitSource.ASKED)
    )
    return wanted if wanted.tokens <= room else AnswerLimit(room, LimitSource.CONTEXT)
