"""The interface of a protocol of model servers.

A provider converts: requests from the OpenAI form to the server's form, and answers from the server's form to
`AnswerPart`s. It makes no calls for a chat itself, so that the limits on time and size, cancellation, streaming and the
handling of errors in `providers.py` apply to every protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from kairos.llm.answers.answer_part import AnswerParser
from kairos.llm.calls.server import Server
from kairos.llm.catalog.catalog import Model, Price


class Feature(StrEnum):
    """What a protocol can transport. Whether a certain model supports it is another question."""

    STREAMS = "streams"
    TOOLS = "tools"
    JSON_SCHEMA = "JSON schema"
    IMAGES = "images"
    REASONING = "reasoning"
    USAGE = "usage"
    CACHED_TOKENS = "cached tokens"
    """The usage has the tokens that were read from the server's prompt cache."""
    CACHE_CONTROL = "cache control"
    """`cache_control` marks of messages and tools reach the server."""
    LOAD_TIME = "load time"
    """The time for loading a model is reported, and does not count as its latency."""
    CHOSEN_CONTEXT = "chosen context"
    """Each request sets the context with which the server loads the model."""
    LISTED_CONTEXT = "listed context"
    """The server reports the context of its models."""
    LISTED_CAPABILITIES = "listed capabilities"
    """The server reports whether a model supports tools, images and reasoning."""
    ADAPTERS = "adapters"
    """Adapters of a model can be called."""


class Framing(StrEnum):
    """How a streamed answer is divided."""

    EVENTS = "events"
    """Server-sent events."""
    LINES = "lines"
    """One JSON object per line."""


@dataclass(frozen=True, slots=True)
class ServerRequest:
    """A request to a model server, sent with POST."""

    url: str
    body: Mapping[str, Any]
    token: str | None = None
    """Sent as a bearer token."""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model as its server describes it. None is unknown."""

    name: str
    """The model's name on its server."""
    context: int | None = None
    """Tokens of prompt and answer together."""
    answer_tokens: int | None = None
    """Maximum tokens of an answer."""
    capabilities: frozenset[str] | None = None
    """Those of `tools`, `vision`, `reasoning` and `json_schema` that the model supports."""
    price: Price | None = None
    local: bool | None = None
    """Whether prompts stay on the server's own hardware."""


class Provider(Protocol):
    """One protocol of model servers."""

    @property
    def features(self) -> frozenset[Feature]:
        """What the protocol can transport, as the contract test proves it."""
        ...

    @property
    def framing(self) -> Framing: ...

    @property
    def parameter_names(self) -> Mapping[str, str]:
        """The server's names of parameters, with the names that they have in the OpenAI form. If the server refuses
        one, the request is repeated without it."""
        ...

    def chat_request(self, model: Model, body: Mapping[str, Any]) -> ServerRequest:
        """Return the request for a chat; `body` is in the OpenAI form.

        Raises `ReportedError` with the status 400 for a body that the protocol cannot express.
        """
        ...

    def answer_parser(self) -> AnswerParser | None:
        """Return a parser for one answer; None if answers are in the OpenAI form."""
        ...

    async def list_models(self, server: Server) -> list[ListedModel]:
        """Return the models that a server lists. Raises `HttpError`."""
        ...

    async def describe(self, server: Server, name: str) -> ListedModel:
        """Return what the server reports of one model. Raises `HttpError`."""
        ...
