"""Calling a model: any server of the OpenAI protocol (Ollama, vLLM, llama.cpp, LM Studio, the embedded model, clouds).

Always asked to stream; a server that answers with one JSON object all the same is understood. Every failure is a
`ModelCallError` that says whether it counts against the server, and what to do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from kairos.http import (
    HttpClient,
    HttpError,
    HttpGarbled,
    HttpLimits,
    HttpStatus,
    HttpTimeout,
    excerpt,
)
from kairos.llm.answer import Answer, Completion, Fault, Reported, Usage
from kairos.llm.answer_reader import AnswerReader, CallLimits, OnDelta, OnRestart
from kairos.llm.call_errors import (
    ModelCallError,
    ModelGarbage,
    ModelRateLimited,
    ModelRefused,
    ModelRequestInvalid,
    ModelServerError,
    ModelStreamCut,
    ModelTimeout,
    ModelUnreachable,
    ModelWithheld,
    failure,
)
from kairos.llm.catalog import Model

__all__ = [
    "CallLimits",
    "ChatRequest",
    "Completion",
    "ModelCallError",
    "ModelGarbage",
    "ModelRateLimited",
    "ModelRefused",
    "ModelRequestInvalid",
    "ModelServerError",
    "ModelStreamCut",
    "ModelTimeout",
    "ModelUnreachable",
    "ModelWithheld",
    "OnDelta",
    "Providers",
    "Usage",
]

WIRE_FACTOR = 64
"""A streamed token of four letters takes about 250 bytes: the bytes allowed on the wire for one byte of answer."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a model is asked."""

    messages: tuple[Mapping[str, Any], ...]
    temperature: float | None = None
    max_tokens: int | None = None
    response_format: Mapping[str, Any] | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Passed through untouched; it wins over the fields above."""


class Providers:
    """Every server a model can be called at, over one HTTP session."""

    def __init__(self, http: HttpClient, limits: CallLimits = CallLimits()) -> None:
        self._http = http
        self._limits = limits
        self._without_usage: set[str] = set()
        """Servers that refuse the wish for token counts (Mistral does, and counts unasked)."""

    async def chat(
        self,
        model: Model,
        request: ChatRequest,
        *,
        timeout_s: float,
        first_token_s: float | None = None,
        on_delta: OnDelta | None = None,
        on_restart: OnRestart | None = None,
    ) -> Completion:
        """Ask a model; `on_delta` gets the text as it comes. `first_token_s` may shorten the wait for its beginning.

        `on_restart` is called when the text that came so far turns out to be reasoning: the answer begins after it.
        Cancelled, it closes the connection, so that the server stops generating. Raises `ModelCallError`.
        """
        answer = Answer(self._limits.answer_bytes)
        reader = AnswerReader(answer, self._limits, on_delta, on_restart)
        patience_s = min(self._limits.first_token_s, first_token_s or math.inf)
        try:
            while not await self._asked(model, request, reader, timeout_s, patience_s):
                self._without_usage.add(model.base_url)
        except HttpTimeout as error:
            if not answer.ended_well():
                raise failure(model, answer.bad_end() or error, answer) from error
        except (HttpError, Fault) as error:
            raise failure(model, error, answer) from error
        return answer.completion()

    async def list_models(self, base_url: str, api_key: str | None, *, timeout_s: float) -> list[str]:
        """The names a server knows its models by; entries that name none are left out. Raises `HttpError`."""
        url = f"{base_url.rstrip('/')}/models"
        limits = HttpLimits(self._limits.connect_s, timeout_s, self._limits.idle_s, timeout_s)
        value = await self._http.get_json(url, token=api_key, limits=limits)
        entries = (value["data"] if value["data"] is not None else []) if _has(value, "data") else None
        if not isinstance(entries, list):
            raise HttpGarbled(address=url, expected="a list of models", excerpt=excerpt(orjson.dumps(value)))
        return [entry["id"] for entry in entries if _has(entry, "id") and isinstance(entry["id"], str)]

    async def _asked(
        self,
        model: Model,
        request: ChatRequest,
        reader: AnswerReader,
        timeout_s: float,
        first_token_s: float,
    ) -> bool:
        """One call; False when it must be made once more, without the wish for token counts."""
        counted = model.base_url not in self._without_usage
        gone_s = reader.answer.seconds()
        try:
            async with self._http.stream(
                "POST",
                f"{model.base_url.rstrip('/')}/chat/completions",
                body=_body(model, request, counted),
                token=model.api_key,
                limits=self._http_limits(timeout_s - gone_s, first_token_s - gone_s),
            ) as wire:
                await reader.read(wire)
        except HttpStatus as error:
            if counted and error.http_status in (400, 422) and "stream_options" in error.reason:
                return False
            raise
        return True

    def _http_limits(self, total_s: float, first_s: float) -> HttpLimits:
        limits = self._limits
        return HttpLimits(limits.connect_s, first_s, limits.idle_s, total_s, limits.answer_bytes * WIRE_FACTOR)


def _body(model: Model, request: ChatRequest, counted: bool) -> bytes:
    body: dict[str, Any] = {"model": model.upstream, "messages": request.messages, "stream": True}
    if counted:
        body["stream_options"] = {"include_usage": True}
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.max_tokens is not None:
        body[_length_field(model)] = request.max_tokens
    if request.response_format is not None:
        body["response_format"] = request.response_format
    if request.stop:
        body["stop"] = request.stop
    if request.seed is not None:
        body["seed"] = request.seed
    if request.tools:
        body["tools"] = request.tools
    body.update(model.body)
    body.update(request.extra)
    try:
        return orjson.dumps(body, default=_plain)
    except orjson.JSONEncodeError as error:
        raise Reported(400, f"it cannot be written as JSON: {error}") from error


def _length_field(model: Model) -> str:
    """OpenAI's newer models refuse the old name; other servers know no other."""
    return "max_completion_tokens" if model.base_url.startswith("https://api.openai.com/") else "max_tokens"


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} has no place in JSON")


def _has(value: Any, key: str) -> bool:
    return isinstance(value, dict) and key in value
