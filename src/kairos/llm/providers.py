"""Calling a model: any server of the OpenAI protocol (Ollama, vLLM, llama.cpp, LM Studio, the embedded model, clouds).

Always asked to stream; a server that answers with one JSON object all the same is understood. Every failure is a
`ModelCallError` that says whether it counts against the server, and what to do.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import orjson

from kairos.http import (
    HttpAnswer,
    HttpClient,
    HttpCut,
    HttpError,
    HttpGarbled,
    HttpLimits,
    HttpTimeout,
    excerpt,
    joined,
)
from kairos.llm.adjustments import LENGTH_NAMES
from kairos.llm.answer import Answer, Completion, Fault, Garbled, Reported, TooLong, Usage
from kairos.llm.attempt import Attempt, SchemaForms
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
from kairos.llm.model_traits import ModelTraits

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
    shorter: tuple[tuple[Mapping[str, Any], ...], ...] = ()
    """The same messages in fewer tokens, the longest first: for models whose context does not hold `messages`."""


class Providers:
    """Every server a model can be called at, over one HTTP session."""

    def __init__(self, http: HttpClient, limits: CallLimits = CallLimits()) -> None:
        self._http = http
        self._limits = limits
        self.traits = ModelTraits()
        """What the servers were found to refuse."""
        self._forms = SchemaForms()

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
        attempt = Attempt(model, _body(model, request), self.traits, self._forms)
        began = time.monotonic()
        patience_s = min(self._limits.first_token_s, first_token_s or math.inf)
        while True:
            gone_s = time.monotonic() - began
            answer = Answer(self._limits.answer_bytes)
            try:
                await self._ask(attempt, answer, timeout_s - gone_s, patience_s - gone_s, on_delta)
            except (HttpError, Fault) as error:
                if not answer.text() and attempt.refused(error):
                    continue
                # Whole by its finish reason, whatever becomes of the connection after it.
                if not isinstance(error, HttpCut | HttpTimeout) or answer.finish_reason is None:
                    raise failure(model, error, answer) from error
            attempt.taken()
            return answer.completion()

    async def list_models(self, base_url: str, api_key: str | None, *, timeout_s: float) -> list[str]:
        """The names a server knows its models by. Raises `HttpError`."""
        url = joined(base_url, "models")
        limits = HttpLimits(self._limits.connect_s, timeout_s, self._limits.idle_s, timeout_s)
        value = await self._http.get_json(url, token=api_key, limits=limits)
        try:
            return [str(entry["id"]) for entry in value["data"] or ()]
        except (TypeError, KeyError, LookupError) as error:
            raise HttpGarbled(address=url, expected="a list of models", excerpt=excerpt(orjson.dumps(value))) from error

    async def _ask(
        self, attempt: Attempt, answer: Answer, timeout_s: float, first_token_s: float, on_delta: OnDelta | None
    ) -> None:
        """One request, as the model's server is known to take it."""
        model = attempt.model
        if attempt.changes.whole:  # its first byte comes when all of it is written
            first_token_s = timeout_s
        async with self._http.stream(
            "POST",
            joined(model.base_url, "chat/completions"),
            body=_dumped(attempt.sent()),
            token=model.api_key,
            headers=_headers(model),
            limits=self._http_limits(timeout_s, first_token_s),
        ) as wire:
            await self._read(wire, answer, on_delta)
            answer.end()
            await wire.drain()

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


def _body(model: Model, request: ChatRequest) -> dict[str, Any]:
    """What is asked for, before anything is left out for the model's server."""
    body: dict[str, Any] = {
        "model": model.upstream,
        "messages": request.messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.max_tokens is not None and not LENGTH_NAMES & set(request.extra):
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
    return body


def _dumped(body: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(body, default=_plain)
    except orjson.JSONEncodeError as error:
        raise Reported(400, f"it cannot be written as JSON: {error}") from error


def _headers(model: Model) -> Mapping[str, str] | None:
    """Azure takes its keys in a header of its own; a bearer token there is one of Entra ID."""
    host = urlsplit(model.base_url).hostname or ""
    azure = host.endswith((".azure.com", ".azure-api.net", ".azure.us", ".azure.cn"))
    return {"api-key": model.api_key} if azure and model.api_key else None


def _length_field(model: Model) -> str:
    """OpenAI's newer models refuse the old name; other servers know no other."""
    return "max_completion_tokens" if model.base_url.startswith("https://api.openai.com/") else "max_tokens"


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} has no place in JSON")
