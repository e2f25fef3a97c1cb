"""Calls models on servers of any protocol: OpenAI-compatible ones, Ollama, Anthropic, and those that plugins add.

The provider of the model's protocol converts request and answer (`provider.py`); everything else is the same for all of
them. Streaming is always requested; a server that sends a single JSON object is supported too. Every failure is a
`ModelCallError`, which states whether it counts against the server, and the remedy.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import orjson

from kairos.config_models import PLUGIN_PROTOCOL
from kairos.errors import did_you_mean
from kairos.http import HttpClient, HttpError, HttpLimits, HttpTimeout
from kairos.llm.answers.answer import AnswerBuilder, AnswerFault, Completion, ReportedError, Usage
from kairos.llm.answers.answer_reader import AnswerReader, CallLimits, OnDelta, OnRestart
from kairos.llm.calls.adjustments import LENGTH_NAMES
from kairos.llm.calls.anthropic_messages import AnthropicMessages
from kairos.llm.calls.attempt import AdaptiveRequest, SchemaForms
from kairos.llm.calls.call_errors import (
    ModelAnswerInvalid,
    ModelCallError,
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
from kairos.llm.calls.call_options import ModelParameters
from kairos.llm.calls.model_traits import ModelTraits
from kairos.llm.calls.ollama_chat import OllamaChat
from kairos.llm.calls.openai_chat import OpenAiChat
from kairos.llm.calls.provider import Framing, ListedModel, Provider
from kairos.llm.calls.provider_errors import ModelProtocolUnknown, UnknownProtocol
from kairos.llm.calls.server import Server
from kairos.llm.catalog.catalog import Model

__all__ = [
    "CallLimits",
    "ChatRequest",
    "Completion",
    "ModelAnswerInvalid",
    "ModelCallError",
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

BUILT_IN: Mapping[str, Provider] = {
    "openai": OpenAiChat(),
    "ollama": OllamaChat(),
    "anthropic": AnthropicMessages(),
}
WIRE_FACTOR = 64
"""Bytes allowed on the wire per byte of answer: a streamed token of four letters takes about 250 bytes."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat request to a model."""

    messages: tuple[Mapping[str, Any], ...]
    temperature: float | None = None
    max_tokens: int | None = None
    response_format: Mapping[str, Any] | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Passed through unchanged; overrides the fields above."""
    shorter: tuple[tuple[Mapping[str, Any], ...], ...] = ()
    """Shorter versions of the messages, longest first, for models whose context does not hold `messages`."""
    own_limit: bool = False
    """Whether `max_tokens` is Kairos' default and not requested by the caller."""

    @classmethod
    def of(
        cls,
        messages: tuple[Mapping[str, Any], ...],
        options: ModelParameters,
        *,
        response_format: Mapping[str, Any] | None = None,
        shorter: tuple[tuple[Mapping[str, Any], ...], ...] = (),
    ) -> Self:
        """Return a request with these parameters. Those that have no field of their own become `extra`."""
        given = options.parameters()
        named = {name: given.pop(name) for name in ("temperature", "max_tokens") if name in given}
        return cls(messages, **named, response_format=response_format, extra=given, shorter=shorter)


class Providers:
    """Client of all model servers, over one HTTP session."""

    def __init__(
        self, http: HttpClient, limits: CallLimits = CallLimits(), projects_http: HttpClient | None = None
    ) -> None:
        """`projects_http` calls models at addresses that projects chose; by default `http` does."""
        self._kinds = dict(BUILT_IN)
        self._http = http
        self._projects_http = projects_http or http
        self._limits = limits
        self.traits = ModelTraits()
        """What calls revealed about the servers."""
        self._forms = SchemaForms()
        self.current: Callable[[Model], Model] = lambda model: model
        """Returns a model with its current key, or raises an error if it was removed. Called before each request."""

    @property
    def protocols(self) -> Mapping[str, Provider]:
        """The providers by the protocol that entries of models name."""
        return self._kinds

    def replace_plugins(self, providers: Mapping[str, Provider]) -> None:
        """Replace the providers of plugins, given by their names. Calls in progress are not affected."""
        self._kinds = {**BUILT_IN, **{f"{PLUGIN_PROTOCOL}{name}": provider for name, provider in providers.items()}}

    def provider(self, protocol: str) -> Provider:
        """Return the provider of a protocol. Raises `UnknownProtocol`."""
        if (found := self._kinds.get(protocol)) is None:
            remedy = did_you_mean(protocol, self._kinds) or "Load the plugin that adds it, or name one of these."
            raise UnknownProtocol(protocol=protocol, known=", ".join(self._kinds), remedy=remedy)
        return found

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
        """Call a model. `on_delta` receives the text while it streams. `first_token_s` may shorten the wait for the
        first token.

        `on_restart` is called if the text so far turns out to be reasoning: the answer starts after it. Cancelling
        closes the connection, so that the server stops generating. Raises `ModelCallError`.
        """
        provider = self._provider_of(model)
        own_limit = request.own_limit and not LENGTH_NAMES & set(request.extra)
        attempt = AdaptiveRequest(
            model,
            _body(model, request),
            self.traits,
            self._forms,
            own_limit=own_limit,
            parameter_names=provider.parameter_names,
        )
        began = time.monotonic()
        first_token_limit_s = min(self._limits.first_token_s, first_token_s or math.inf)
        while True:
            elapsed_s = time.monotonic() - began
            answer = AnswerBuilder(self._limits.answer_bytes, provider.answer_parser())
            lines = provider.framing is Framing.LINES and not attempt.changes.whole
            reader = AnswerReader(answer, self._limits, on_delta, on_restart, lines=lines)
            try:
                await self._ask(provider, attempt, reader, timeout_s - elapsed_s, first_token_limit_s - elapsed_s)
            except HttpTimeout as error:
                if not answer.ends_well():
                    raise failure(attempt.model, answer.reported_fault() or error, answer) from error
                await reader.end_at_last_event()
            except (HttpError, AnswerFault) as error:
                if not answer.text() and attempt.adapt(error):
                    continue
                raise failure(attempt.model, error, answer) from error
            attempt.accepted()
            return answer.completion()

    async def list_models(
        self,
        base_url: str,
        api_key: str | None,
        *,
        timeout_s: float,
        protocol: str = "openai",
        headers: Mapping[str, str] | None = None,
        ca: str | None = None,
    ) -> list[ListedModel]:
        """Return the models that a server lists; entries without a name are skipped.

        Raises `HttpError` or `UnknownProtocol`.
        """
        server = Server(self._http, base_url, api_key, self._short_limits(timeout_s), headers or {}, ca)
        return await self.provider(protocol).list_models(server)

    async def describe(self, model: Model, *, timeout_s: float) -> ListedModel:
        """Return what a model's server reports of it. Raises `HttpError` or `UnknownProtocol`."""
        limits = self._short_limits(timeout_s)
        server = Server(self._http, model.base_url, model.api_key, limits, model.headers, model.ca)
        return await self.provider(model.protocol).describe(server, model.upstream)

    def _provider_of(self, model: Model) -> Provider:
        try:
            return self.provider(model.protocol)
        except UnknownProtocol as error:
            raise ModelProtocolUnknown(model=model.name, reason=str(error)) from error

    def _short_limits(self, timeout_s: float) -> HttpLimits:
        return HttpLimits(self._limits.connect_s, timeout_s, self._limits.idle_s, timeout_s)

    async def _ask(
        self,
        provider: Provider,
        attempt: AdaptiveRequest,
        reader: AnswerReader,
        timeout_s: float,
        first_token_s: float,
    ) -> None:
        """Send one request, adapted to the model's server."""
        model = attempt.model = self.current(attempt.model)
        if attempt.changes.whole:  # the first byte arrives when the answer is complete
            first_token_s = timeout_s
        request = provider.chat_request(model, attempt.body())
        http = self._projects_http if model.public_only else self._http
        async with http.stream(
            "POST",
            request.url,
            body=_dumped(request.body),
            token=request.token,
            headers={**request.headers, **model.headers},
            limits=self._http_limits(timeout_s, first_token_s),
            public_only=model.public_only,
            ca=model.ca,
        ) as response:
            await reader.read(response)

    def _http_limits(self, total_s: float, first_s: float) -> HttpLimits:
        limits = self._limits
        return HttpLimits(limits.connect_s, first_s, limits.idle_s, total_s, limits.answer_bytes * WIRE_FACTOR)


def _body(model: Model, request: ChatRequest) -> dict[str, Any]:
    """Return the request body before adjustments."""
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
    body.update(request.extra)
    body.update(model.body)  # it selects the adapter, which no caller may change
    return body


def _dumped(body: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(body, default=_plain)
    except orjson.JSONEncodeError as error:
        raise ReportedError(400, f"the request cannot be encoded as JSON: {error}") from error


def _length_field(model: Model) -> str:
    """Return the name of the answer limit. OpenAI's newer models refuse the old name; other servers know only that
    one."""
    return "max_completion_tokens" if model.base_url.startswith("https://api.openai.com/") else "max_tokens"


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} cannot be encoded as JSON")
