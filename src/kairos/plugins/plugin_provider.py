"""A plugin's provider as the daemon calls it: a fault in its code fails one call, with a typed error."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Iterator, Mapping
from typing import Any, NoReturn

from kairos.http import HttpError, plain_address
from kairos.llm.answers.answer_faults import AnswerFault, ProviderFault
from kairos.llm.answers.answer_part import AnswerParser, AnswerPart
from kairos.llm.calls.provider import Feature, Framing, ListedModel, ServerRequest
from kairos.llm.calls.server import LISTED, Server
from kairos.llm.catalog.catalog import Model
from kairos.plugins.child_ipc import error_line, trace_of
from kairos.plugins.provider_plugin import ProviderPlugin

log = logging.getLogger(__name__)

MAX_PARTS = 1_000
"""Maximum number of parts that one object of an answer may contain."""


class ProviderCallFailed(HttpError):
    """The provider {name} of a plugin failed to call {address}: {reason}. See the daemon's log for the traceback."""

    code, retryable = "provider_call_failed", False


class PluginProvider:
    """A provider that runs the code of a plugin."""

    def __init__(self, name: str, plugin: ProviderPlugin) -> None:
        """Raises `ValueError` if `features` or `framing` have unknown values; errors of `answer_parser` are raised."""
        self.features = frozenset(Feature(str(feature)) for feature in plugin.features)
        self.framing = Framing(str(plugin.framing))
        self.parameter_names: Mapping[str, str] = dict(plugin.parameter_names)
        self._converts = plugin.answer_parser() is not None
        self._name = name
        self._plugin = plugin

    def chat_request(self, model: Model, body: Mapping[str, Any]) -> ServerRequest:
        try:
            request = self._plugin.chat_request(model, body)
            if not isinstance(request, ServerRequest):
                raise TypeError(f"chat_request returned a {type(request).__name__} instead of a ServerRequest")
            return request
        except AnswerFault:
            raise
        except Exception as error:  # an error of the plugin's code
            self.fail(error, model.api_key)

    def answer_parser(self) -> AnswerParser | None:
        return _GuardedParser(self) if self._converts else None

    async def list_models(self, server: Server) -> list[ListedModel]:
        listed = await self._called(server, self._plugin.list_models(server))
        if not isinstance(listed, list | tuple):
            raise self._failed(server, f"list_models returned a {type(listed).__name__}")
        return [model for model in listed[:LISTED] if isinstance(model, ListedModel)]

    async def describe(self, server: Server, name: str) -> ListedModel:
        described = await self._called(server, self._plugin.describe(server, name))
        if isinstance(described, ListedModel):
            return described
        listed = {model.name: model for model in await self.list_models(server)}
        return listed.get(name) or ListedModel(name)

    def new_parser(self) -> AnswerParser:
        """Return the plugin's parser. Raises `ProviderFault`."""
        try:
            parser = self._plugin.answer_parser()
            if parser is None:
                raise TypeError("answer_parser returned a parser before, and None now")
            return parser
        except Exception as error:
            self.fail(error)

    def fail(self, error: Exception, api_key: str | None = None) -> NoReturn:
        """Log an error of the plugin's code, and raise it as `ProviderFault`."""
        raise ProviderFault(f"{self._name}: {self._logged(error, api_key)}") from error

    async def _called(self, server: Server, call: Awaitable[Any]) -> Any:
        """Raises `HttpError`."""
        try:
            return await call
        except HttpError:
            raise
        except Exception as error:
            raise self._failed(server, self._logged(error, server.api_key)) from error

    def _logged(self, error: Exception, api_key: str | None) -> str:
        """Log an error with its traceback and return it as a line, both without the key."""
        line, trace = error_line(error), trace_of(error)
        if api_key:
            line, trace = line.replace(api_key, "***"), trace.replace(api_key, "***")
        log.error("the provider %s failed: %s\n%s", self._name, line, trace)
        return line

    def _failed(self, server: Server, reason: str) -> ProviderCallFailed:
        return ProviderCallFailed(address=plain_address(server.base_url), name=self._name, reason=reason)


class _GuardedParser:
    """The parser of one answer, created with the first object."""

    def __init__(self, provider: PluginProvider) -> None:
        self._provider = provider
        self._parser: AnswerParser | None = None

    def parts(self, value: Mapping[str, Any]) -> Iterator[AnswerPart]:
        self._parser = self._parser or self._provider.new_parser()
        try:
            for number, part in enumerate(self._parser.parts(value)):
                if not isinstance(part, AnswerPart) or number >= MAX_PARTS:
                    raise TypeError(f"parts returned a {type(part).__name__}, or more than {MAX_PARTS} values")
                yield part
        except AnswerFault:
            raise
        except Exception as error:
            self._provider.fail(error)
