"""The plugin API for providers: a class with a name, that converts requests and answers of one protocol.

    from kairos.llm.answers.answer_part import AnswerPart
    from kairos.llm.calls.provider import ServerRequest
    from kairos.plugins.provider_plugin import ProviderPlugin

`kairos.llm.calls.provider.Provider` documents the methods. A model uses the provider with `protocol = "plugin:NAME"`.
Imports the standard library only, because plugin processes import this module.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from kairos.llm.answers.answer_part import AnswerParser
    from kairos.llm.calls.provider import ListedModel, ServerRequest
    from kairos.llm.calls.server import Server
    from kairos.llm.catalog.catalog import Model


class ProviderPlugin(ABC):
    """Base class of providers, instantiated without arguments, once in each daemon. Its methods must not block."""

    features: ClassVar[Collection[str]] = ("streams",)
    """What the protocol transports: values of `kairos.llm.calls.provider.Feature`."""
    framing: ClassVar[str] = "events"
    """`events` for server-sent events, or `lines` for one JSON object per line."""
    parameter_names: ClassVar[Mapping[str, str]] = {}
    """The server's names of parameters, with those in the OpenAI form."""

    @abstractmethod
    def get_name(self) -> str:
        """The provider's unique name: at most 100 letters, digits, `_`, `-` and `.`."""

    @abstractmethod
    def chat_request(self, model: Model, body: Mapping[str, Any]) -> ServerRequest:
        """Return the request for a chat; `body` is in the OpenAI form."""

    @abstractmethod
    def answer_parser(self) -> AnswerParser | None:
        """Return a parser for one answer; None if answers are in the OpenAI form."""

    async def list_models(self, server: Server) -> list[ListedModel]:
        """Return the models that a server lists; by default none."""
        return []

    async def describe(self, server: Server, name: str) -> ListedModel | None:
        """Return what the server reports of one model; None for its entry in the list."""
        return None
