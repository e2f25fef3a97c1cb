"""Anthropic's Messages API: `/v1/messages` and `/v1/models`.

Documented at https://platform.claude.com/docs/en/api/messages. `anthropic_request.py` converts the messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from kairos.http import joined, server_root
from kairos.llm.answers.anthropic_answer import AnthropicAnswerParser
from kairos.llm.calls.anthropic_request import messages_body
from kairos.llm.calls.provider import Feature, Framing, ListedModel, ServerRequest
from kairos.llm.calls.server import LISTED, Server, named, positive
from kairos.llm.catalog.catalog import Model

VERSION = "2023-06-01"
"""The only current value of the header `anthropic-version`."""
PAGE = 1_000
CAPABILITIES = {"image_input": "vision", "thinking": "reasoning", "structured_outputs": "json_schema"}


class AnthropicMessages:
    """Anthropic's Messages API. The base address may end with `/v1`."""

    features = frozenset(Feature) - {Feature.LOAD_TIME, Feature.CHOSEN_CONTEXT, Feature.ADAPTERS}
    framing = Framing.EVENTS
    parameter_names: Mapping[str, str] = {
        "output_config": "response_format",
        "output_format": "response_format",
        "thinking": "reasoning_effort",
        "effort": "reasoning_effort",
        "adaptive": "reasoning_effort",
        "stop_sequences": "stop",
    }

    def chat_request(self, model: Model, body: Mapping[str, Any]) -> ServerRequest:
        sent = messages_body(body, model.context)
        return ServerRequest(_url(model.base_url, "messages"), sent, headers=_headers(model.api_key))

    def answer_parser(self) -> AnthropicAnswerParser:
        return AnthropicAnswerParser()

    async def list_models(self, server: Server) -> list[ListedModel]:
        """Return the models of all pages, at most `LISTED`."""
        found: list[ListedModel] = []
        after: str | None = None
        for _ in range(LISTED // PAGE):
            url = _page(_url(server.base_url, "models"), after)
            value = await server.get_json(url, headers=_headers(server.api_key))
            found += [_listed(name, row) for name, row in named(value, "data", url, ("id",))]
            value = value if isinstance(value, Mapping) else {}
            following = value.get("last_id")
            if value.get("has_more") is not True or not isinstance(following, str) or following == after:
                break
            after = following
        return found

    async def describe(self, server: Server, name: str) -> ListedModel:
        url = _url(server.base_url, f"models/{quote(name, safe='')}")
        value = await server.get_json(url, headers=_headers(server.api_key))
        return _listed(name, value) if isinstance(value, Mapping) else ListedModel(name)


def _url(base_url: str, path: str) -> str:
    return joined(server_root(base_url), f"v1/{path}")


def _page(url: str, after: str | None) -> str:
    parts = urlsplit(url)
    query = urlencode({"limit": PAGE, **({"after_id": after} if after else {})})
    return urlunsplit(parts._replace(query=f"{parts.query}&{query}" if parts.query else query))


def _headers(api_key: str | None) -> dict[str, str]:
    return {"anthropic-version": VERSION, **({"x-api-key": api_key} if api_key else {})}


def _listed(name: str, row: Mapping[str, Any]) -> ListedModel:
    declared = row.get("capabilities")
    capabilities = None
    if isinstance(declared, Mapping):
        found = {ours for theirs, ours in CAPABILITIES.items() if _supported(declared.get(theirs))}
        capabilities = frozenset(found | {"tools"})  # all models of this API support tools
    return ListedModel(
        name,
        context=positive(row.get("max_input_tokens")),
        answer_tokens=positive(row.get("max_tokens")),
        capabilities=capabilities,
        local=False,
    )


def _supported(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("supported") is True
