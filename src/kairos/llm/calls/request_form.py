"""Reads requests in the OpenAI form, to convert them to the forms of other protocols."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from kairos.llm.answers.answer_faults import ReportedError

LENGTH_NAMES = ("max_completion_tokens", "max_tokens")
"""The names of the answer limit, the preferred one first."""
OPENAI_ONLY = frozenset(
    {
        *("model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "response_format"),
        *("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "reasoning_effort", "stop"),
        *("n", "logit_bias", "user", "store", "modalities", "audio", "prediction", "verbosity", "web_search_options"),
        *("prompt_cache_key", "prompt_cache_retention", "safety_identifier", "service_tier"),
    }
)
"""Fields of the OpenAI form that other protocols do not know under this name. The converters read them; what they have
no equivalent for is left out."""
DATA_URL = re.compile(r"data:(image/[a-zA-Z0-9.+-]{1,40})(?:;[^,;]{1,40})*;base64,", re.ASCII)


def refused(reason: str) -> ReportedError:
    """Return the error for a request that a protocol cannot express."""
    return ReportedError(400, reason)


def others(body: Mapping[str, Any], converted: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return the fields of a body that are passed on unchanged."""
    return {name: value for name, value in body.items() if name not in OPENAI_ONLY and name not in converted}


def answer_limit(body: Mapping[str, Any]) -> int | None:
    """Return the answer limit of a body in tokens."""
    return next((body[name] for name in LENGTH_NAMES if isinstance(body.get(name), int)), None)


def stops(body: Mapping[str, Any]) -> list[str]:
    """Return the stop sequences of a body."""
    stop = body.get("stop") or ()
    return [stop] if isinstance(stop, str) else [text for text in stop if isinstance(text, str) and text]


def schema_of(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the JSON schema that the answer must match; None if there is none."""
    form = body.get("response_format")
    inner = form.get("json_schema") if isinstance(form, Mapping) else None
    schema = inner.get("schema") if isinstance(inner, Mapping) else None
    return schema if isinstance(schema, Mapping) else None


def parts_of(message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Iterate over the parts of a message's content; a text is one part."""
    content = message.get("content")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    for part in content or ():
        if isinstance(part, str):
            part = {"type": "text", "text": part}
        if not isinstance(part, Mapping):
            raise refused("a part of a message is not an object")
        yield part


def text_of(part: Mapping[str, Any]) -> str | None:
    """Return the text of a part; None if it is not a text."""
    if part.get("type", "text") in ("text", "input_text", "output_text", "refusal"):
        text = part.get("text", part.get("refusal"))
        return text if isinstance(text, str) else ""
    return None


def image_url(part: Mapping[str, Any]) -> str | None:
    """Return the address of an image, which may be a `data:` URL; None if the part is not an image."""
    if part.get("type") not in ("image_url", "input_image"):
        return None
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else image
    if not isinstance(url, str):
        raise refused("an image has no address")
    return url


def data_of(url: str) -> tuple[str, str] | None:
    """Return media type and base64 data of a `data:` URL; None for another address."""
    found = DATA_URL.match(url)
    return (found[1], url[found.end() :]) if found else None


def calls_of(message: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Iterate over the tool calls of a message: id, name, and arguments as an object."""
    for call in message.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping):
            raise refused("a tool call has no function")
        yield str(call.get("id") or ""), str(function.get("name") or ""), _arguments(function.get("arguments"))


def functions_of(body: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Iterate over the tools of a body, each with its function."""
    for tool in body.get("tools") or ():
        function = tool.get("function") if isinstance(tool, Mapping) else None
        if not isinstance(function, Mapping):
            raise refused("a tool is not a function, the only kind that this protocol supports")
        yield tool, function


def _arguments(value: Any) -> Any:
    """Return the arguments of a call as an object. Models may have written text that is not JSON; it is kept."""
    if isinstance(value, Mapping):
        return value
    try:
        parsed = orjson.loads(value or "{}")
    except (orjson.JSONDecodeError, TypeError):
        return {"arguments": value if isinstance(value, str) else None}
    return parsed if isinstance(parsed, dict) else {"arguments": parsed}
