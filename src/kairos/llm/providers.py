"""Calling a model: any server of the OpenAI protocol (Ollama, vLLM, llama.cpp, LM Studio, the embedded model, clouds).

Always asked to stream; a server that answers with one JSON object all the same is understood. Every failure is a
`ModelCallError` that says whether it counts against the server, and what to do.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

from kairos.http import (
    HttpAnswer,
    HttpClient,
    HttpCut,
    HttpError,
    HttpGarbled,
    HttpLimits,
    HttpStatus,
    HttpTimeout,
    excerpt,
)
from kairos.llm.answer import Answer, Completion, Fault, Garbled, Reported, TooLong, Usage
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
    failure,
)
from kairos.llm.catalog import Model
from kairos.llm.event_stream import EventStream

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
    "OnDelta",
    "Providers",
    "Usage",
]

OnDelta = Callable[[str], Awaitable[None]]
WIRE_FACTOR = 64
"""A streamed token of four letters takes about 250 bytes: the bytes allowed on the wire for one byte of answer."""


@dataclass(frozen=True, slots=True)
class CallLimits:
    """How long a model's server may take, and how much it may answer."""

    connect_s: float = 5.0
    first_token_s: float = 60.0
    """From the start of the call: loading the model and reading the prompt are in it."""
    idle_s: float = 30.0
    """Between two pieces of a stream."""
    usage_s: float = 5.0
    """After the finish reason, for the token counts that may follow."""
    answer_bytes: int = 4 * 1024 * 1024


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
    ) -> Completion:
        """Ask a model; `on_delta` gets the text as it comes. `first_token_s` may shorten the wait for its beginning.

        Cancelled, it closes the connection, so that the server stops generating. Raises `ModelCallError`.
        """
        answer = Answer(self._limits.answer_bytes)
        patience_s = min(self._limits.first_token_s, first_token_s or math.inf)
        try:
            while not await self._asked(model, request, answer, timeout_s, patience_s, on_delta):
                self._without_usage.add(model.base_url)
        except (HttpCut, HttpTimeout) as error:
            if answer.finish_reason is None:
                raise failure(model, error, answer) from error
        except (HttpError, Fault) as error:
            raise failure(model, error, answer) from error
        return answer.completion()

    async def list_models(self, base_url: str, api_key: str | None, *, timeout_s: float) -> list[str]:
        """The names a server knows its models by; entries that name none are left out. Raises `HttpError`."""
        url = f"{base_url.rstrip('/')}/models"
        limits = HttpLimits(self._limits.connect_s, timeout_s, self._limits.idle_s, timeout_s)
        value = await self._http.get_json(url, token=api_key, limits=limits)
        entries = (value["data"] if value["data"] is not None else []) if _has(value, "data") else None
        named = [entry["id"] for entry in entries if _has(entry, "id")] if isinstance(entries, list) else None
        names = [name for name in named or () if isinstance(name, str)]
        if named is None or (entries and not names):
            raise HttpGarbled(address=url, expected="a list of models", excerpt=excerpt(orjson.dumps(value)))
        return names

    async def _asked(
        self,
        model: Model,
        request: ChatRequest,
        answer: Answer,
        timeout_s: float,
        first_token_s: float,
        on_delta: OnDelta | None,
    ) -> bool:
        """One call; False when it must be made once more, without the wish for token counts."""
        counted = model.base_url not in self._without_usage
        gone_s = answer.seconds()
        try:
            async with self._http.stream(
                "POST",
                f"{model.base_url.rstrip('/')}/chat/completions",
                body=_body(model, request, counted),
                token=model.api_key,
                limits=self._http_limits(timeout_s - gone_s, first_token_s - gone_s),
            ) as wire:
                await self._read(wire, answer, on_delta)
                answer.end()
                await wire.drain()
        except HttpStatus as error:
            if counted and error.http_status in (400, 422) and "stream_options" in error.reason:
                return False
            raise
        return True

    def _http_limits(self, total_s: float, first_s: float) -> HttpLimits:
        limits = self._limits
        return HttpLimits(limits.connect_s, first_s, limits.idle_s, total_s, limits.answer_bytes * WIRE_FACTOR)

    async def _read(self, wire: HttpAnswer, answer: Answer, on_delta: OnDelta | None) -> None:
        """Read what comes for what it is: the Content-Type of such servers is not always true."""
        beginning = b""
        while not beginning and (chunk := await wire.read(begun=False)):
            beginning = chunk.removeprefix(b"\xef\xbb\xbf").lstrip()
        if beginning.startswith((b"{", b"[")):
            await self._read_object(wire, answer, beginning, on_delta)
        else:
            await self._read_events(wire, answer, beginning, on_delta)

    async def _read_object(self, wire: HttpAnswer, answer: Answer, body: bytes, on_delta: OnDelta | None) -> None:
        pieces, size = [], 0
        while body:
            pieces.append(body)
            size += len(body)
            if size > self._limits.answer_bytes:
                raise TooLong(self._limits.answer_bytes)
            body = await wire.read()
        text = answer.take_whole(b"".join(pieces))
        if text and on_delta:
            await on_delta(text)

    async def _read_events(self, wire: HttpAnswer, answer: Answer, chunk: bytes, on_delta: OnDelta | None) -> None:
        events = EventStream(self._limits.answer_bytes)
        beginning = chunk[:1024]
        while chunk and not answer.done:
            try:
                complete = events.feed(chunk)
            except ValueError as error:
                raise TooLong(self._limits.answer_bytes) from error
            if (text := answer.take(complete)) and on_delta:
                await on_delta(text)
            if not answer.done:
                idle_s = self._limits.idle_s if answer.finish_reason is None else self._limits.usage_s
                chunk = await wire.read(begun=answer.first_token_s is not None, idle_s=idle_s)
        if not answer.done:
            with suppress(Garbled):  # half an event: the stream was cut in it
                answer.take(events.finish())
        answer.check_end(beginning)


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
