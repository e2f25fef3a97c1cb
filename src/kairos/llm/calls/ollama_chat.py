"""Ollama's own protocol: `/api/chat`, `/api/tags` and `/api/show`.

Documented at https://github.com/ollama/ollama/blob/main/docs/api.md; observed with Ollama 0.17.4. Compared with its
OpenAI-compatible API, each request chooses the context (`num_ctx`), prompts that do not fit are refused instead of cut,
and the answer contains the time for loading the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from kairos.http import joined, server_root
from kairos.llm.answers.ollama_answer import OllamaAnswerParser
from kairos.llm.calls.ollama_traits import OllamaTraits, is_remote, traits
from kairos.llm.calls.provider import Feature, Framing, ListedModel, ServerRequest
from kairos.llm.calls.request_form import (
    answer_limit,
    calls_of,
    data_of,
    functions_of,
    image_url,
    others,
    parts_of,
    refused,
    schema_of,
    stops,
    text_of,
)
from kairos.llm.calls.server import Server, named
from kairos.llm.catalog.catalog import FREE, Model

OPTIONS = frozenset(
    {
        *("temperature", "top_p", "top_k", "min_p", "typical_p", "seed", "presence_penalty", "frequency_penalty"),
        *("repeat_penalty", "repeat_last_n", "num_keep", "num_predict", "num_ctx", "mirostat", "mirostat_eta"),
        *("mirostat_tau", "num_batch", "num_gpu", "num_thread", "use_mmap", "main_gpu"),
    }
)
"""Parameters that Ollama expects in `options`."""
CAPABILITIES = {"tools": "tools", "vision": "vision", "thinking": "reasoning", "completion": "json_schema"}
"""Ollama's names of capabilities. It constrains every completion to a schema itself."""


class OllamaChat:
    """Ollama's own protocol. The base address is that of the server, with or without `/v1` or `/api`."""

    features = frozenset(Feature) - {Feature.CACHED_TOKENS, Feature.CACHE_CONTROL}
    framing = Framing.LINES
    parameter_names: Mapping[str, str] = {"think": "reasoning_effort", "thinking": "reasoning_effort"}

    def chat_request(self, model: Model, body: Mapping[str, Any]) -> ServerRequest:
        sent: dict[str, Any] = {
            "model": body["model"],
            "messages": list(_messages(body["messages"])),
            "stream": body.get("stream", True),
            "truncate": False,  # a prompt that does not fit is refused instead of being cut
            "shift": False,
            **others(body, OPTIONS | {"options"}),
            "options": _options(model, body),
        }
        if body.get("tools") and body.get("tool_choice") != "none":
            sent["tools"] = [{"type": "function", "function": _function(one)} for _, one in functions_of(body)]
        if (form := _format(body)) is not None:
            sent["format"] = form
        if "think" not in sent and (think := _think(body)) is not None:
            sent["think"] = think
        return ServerRequest(_url(model.base_url, "chat"), sent, model.api_key)

    def answer_parser(self) -> OllamaAnswerParser:
        return OllamaAnswerParser()

    async def list_models(self, server: Server) -> list[ListedModel]:
        """Return the models of `/api/tags`, without their context and capabilities, which `describe` returns."""
        url = _url(server.base_url, "tags")
        value = await server.get_json(url, token=server.api_key)
        return [_listed(name, row) for name, row in named(value, "models", url, ("name", "model"))]

    async def describe(self, server: Server, name: str) -> ListedModel:
        """Return what `/api/show` reports; the context is the one that the model was trained for."""
        value = await server.post_json(_url(server.base_url, "show"), {"model": name}, token=server.api_key)
        return _shown(name, value if isinstance(value, Mapping) else {})


def _url(base_url: str, path: str) -> str:
    return joined(server_root(base_url), path if server_root(base_url).endswith("/api") else f"api/{path}")


def _options(model: Model, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options. The context is the same for all requests to a model, because another one reloads it."""
    options: dict[str, Any] = {"num_ctx": model.context}
    options |= {name: body[name] for name in OPTIONS & set(body) if body[name] is not None}
    if (limit := answer_limit(body)) is not None:
        options["num_predict"] = limit
    if stop := stops(body):
        options["stop"] = stop
    given = body.get("options")
    return {**options, **given} if isinstance(given, Mapping) else options


def _format(body: Mapping[str, Any]) -> Any:
    if (schema := schema_of(body)) is not None:
        return schema
    form = body.get("response_format")
    return "json" if isinstance(form, Mapping) and form.get("type") in ("json_object", "json_schema") else None


def _think(body: Mapping[str, Any]) -> bool | str | None:
    """Return `think`. Only gpt-oss accepts levels; other models are refused with them."""
    effort = body.get("reasoning_effort")
    if effort is None:
        return None
    if effort in ("low", "medium", "high") and "gpt-oss" in str(body.get("model", "")):
        return effort
    return effort != "none"


def _messages(messages: Any) -> Iterator[dict[str, Any]]:
    names: dict[str, str] = {}
    for message in messages:
        sent: dict[str, Any] = {"role": _role(message), "content": _text(message)}
        if images := list(_images(message)):
            sent["images"] = images
        if reasoning := message.get("reasoning_content") or message.get("reasoning"):
            sent["thinking"] = reasoning
        calls = list(calls_of(message))
        if calls:
            names |= {identifier: name for identifier, name, _ in calls}
            sent["tool_calls"] = [
                {"id": identifier, "function": {"index": place, "name": name, "arguments": arguments}}
                for place, (identifier, name, arguments) in enumerate(calls)
            ]
        if sent["role"] == "tool":
            identifier = str(message.get("tool_call_id") or "")
            sent |= {"tool_call_id": identifier, "tool_name": names.get(identifier) or message.get("name") or ""}
        yield sent


def _role(message: Mapping[str, Any]) -> str:
    role = str(message.get("role"))
    return {"developer": "system", "function": "tool"}.get(role, role)


def _text(message: Mapping[str, Any]) -> str:
    texts = (text_of(part) for part in parts_of(message))
    return "\n".join(text for text in texts if text)


def _images(message: Mapping[str, Any]) -> Iterator[str]:
    for part in parts_of(message):
        if (url := image_url(part)) is not None:
            if (found := data_of(url)) is None:
                raise refused("Ollama loads no images from addresses: send the image as a data: URL in base64")
            yield found[1]
        elif text_of(part) is None:
            raise refused(f"Ollama does not support parts of the kind {str(part.get('type'))[:40]!r}")


def _function(function: Mapping[str, Any]) -> dict[str, Any]:
    """Return a function without `strict`. Ollama's parameters must be an object schema."""
    kept = {name: function[name] for name in ("name", "description") if name in function}
    return {**kept, "parameters": function.get("parameters") or {"type": "object", "properties": {}}}


def _listed(name: str, row: Mapping[str, Any]) -> ListedModel:
    remote = is_remote(name, row)
    return ListedModel(name, price=None if remote else FREE, local=not remote)


def _shown(name: str, shown: Mapping[str, Any]) -> ListedModel:
    found = traits(shown)
    return replace(_listed(name, shown), context=found.context, capabilities=_capabilities(found))


def _capabilities(found: OllamaTraits) -> frozenset[str] | None:
    if found.capabilities is None:
        return None
    return frozenset(ours for theirs, ours in CAPABILITIES.items() if theirs in found.capabilities)
