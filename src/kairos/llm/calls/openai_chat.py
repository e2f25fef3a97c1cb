"""The OpenAI-compatible protocol: `/chat/completions` and `/models` below the base address.

Spoken by OpenAI, Azure, Google, Mistral, OpenRouter, vLLM, llama.cpp, LM Studio and many others. Requests and answers
have this form inside of Kairos, so nothing is converted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from kairos.http import HttpStatus, joined, plain_address
from kairos.llm.calls.provider import Feature, Framing, ListedModel, ServerRequest
from kairos.llm.calls.server import Server, named, positive
from kairos.llm.catalog.catalog import Model, Price


class OpenAiChat:
    """The OpenAI-compatible protocol."""

    features = frozenset(Feature) - {Feature.LOAD_TIME, Feature.CHOSEN_CONTEXT}
    framing = Framing.EVENTS
    parameter_names: Mapping[str, str] = {}

    def chat_request(self, model: Model, body: Mapping[str, Any]) -> ServerRequest:
        url = joined(model.base_url, "chat/completions")
        return ServerRequest(url, body, model.api_key, _azure_key(model.base_url, model.api_key))

    def answer_parser(self) -> None:
        return None

    async def list_models(self, server: Server) -> list[ListedModel]:
        url = joined(server.base_url, "models")
        value = await server.get_json(
            url, token=server.api_key, headers=_azure_key(server.base_url, server.api_key) or None
        )
        return [_listed(name, row) for name, row in named(value, "data", url, ("id",))]

    async def describe(self, server: Server, name: str) -> ListedModel:
        """Return the entry of the list. `/models/NAME` is not used, because few servers support it."""
        for listed in await self.list_models(server):
            if listed.name == name:
                return listed
        address = plain_address(joined(server.base_url, "models"))
        raise HttpStatus(address=address, http_status=404, reason=f"it lists no model {name}", retry_after_s=None)


def _azure_key(base_url: str, api_key: str | None) -> Mapping[str, str]:
    """Return extra headers. Azure expects its keys in a separate header; a bearer token there is an Entra ID token."""
    host = urlsplit(base_url).hostname or ""
    azure = host.endswith((".azure.com", ".azure-api.net", ".azure.us", ".azure.cn"))
    return {"api-key": api_key} if azure and api_key else {}


def _listed(name: str, row: Mapping[str, Any]) -> ListedModel:
    """Parse an entry, with the additions of vLLM, llama.cpp, OpenRouter, Mistral, Groq and Together."""
    meta = row.get("meta")
    loaded = meta.get("n_ctx") if isinstance(meta, Mapping) else None
    contexts = (row.get("max_model_len"), loaded, row.get("context_length"), row.get("context_window"))
    contexts = (*contexts, row.get("max_context_length"))
    top = row.get("top_provider")
    return ListedModel(
        name=name,
        context=next((tokens for tokens in map(positive, contexts) if tokens), None),
        answer_tokens=positive(top.get("max_completion_tokens")) if isinstance(top, Mapping) else None,
        capabilities=_capabilities(row),
        price=_price(row.get("pricing")),
    )


def _capabilities(row: Mapping[str, Any]) -> frozenset[str] | None:
    """Return what OpenRouter (`supported_parameters`, `architecture`) and Mistral (`capabilities`) report."""
    parameters, architecture, declared = (
        row.get("supported_parameters"),
        row.get("architecture"),
        row.get("capabilities"),
    )
    found: set[str] = set()
    if isinstance(parameters, list):
        names = {"tools": "tools", "structured_outputs": "json_schema", "reasoning": "reasoning"}
        found |= {names[name] for name in parameters if isinstance(name, str) and name in names}
        inputs = architecture.get("input_modalities") if isinstance(architecture, Mapping) else None
        return frozenset(found | ({"vision"} if isinstance(inputs, list) and "image" in inputs else set()))
    if isinstance(declared, Mapping):
        names = {"function_calling": "tools", "vision": "vision", "reasoning": "reasoning"}
        return frozenset(ours for theirs, ours in names.items() if declared.get(theirs) is True)
    return None


def _price(value: Any) -> Price | None:
    """Return OpenRouter's price, which is in US dollars per token, as text."""
    if not isinstance(value, Mapping):
        return None
    try:
        price = Price(float(value["prompt"]) * 1e6, float(value["completion"]) * 1e6)
    except (KeyError, TypeError, ValueError):
        return None
    return price if 0 <= price.input <= 1e6 and 0 <= price.output <= 1e6 else None  # it lists -1 for "varies"
