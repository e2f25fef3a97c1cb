"""Converts requests from the OpenAI form to that of Anthropic's Messages API.

The system prompt is a field of its own, contents are lists of blocks, results of tools are part of the user's messages,
and `max_tokens` is mandatory. Marks of `cache_control`, on a part, a message or a tool, are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

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

DEFAULT_TOKENS = 4_096
"""The answer limit of a request without one; all models of the API accept it."""
NOT_SUPPORTED = frozenset(
    {"seed", "frequency_penalty", "presence_penalty", "logprobs", "top_logprobs", "min_p", "repeat_penalty"}
)
CHOICES = {"auto": "auto", "required": "any", "none": "none"}
NATIVE = frozenset({"thinking", "redacted_thinking", "tool_use", "tool_result", "image", "document", "search_result"})
"""Blocks of the Messages API itself, which are passed on unchanged."""

Block = dict[str, Any]


def messages_body(body: Mapping[str, Any], context: int) -> dict[str, Any]:
    """Return the body of a request. Raises `ReportedError` for what the API cannot express."""
    system, messages = _split(body["messages"])
    sent: dict[str, Any] = {
        "model": body["model"],
        "max_tokens": answer_limit(body) or min(DEFAULT_TOKENS, context),
        "messages": list(_merged(messages)),
        "stream": body.get("stream", True),
        **others(body, NOT_SUPPORTED),
    }
    if system:
        sent["system"] = system
    if stop := [text for text in stops(body) if text.strip()]:  # the API refuses white space
        sent["stop_sequences"] = stop
    if isinstance(body.get("user"), str):
        sent["metadata"] = {"user_id": body["user"]}
    _add_tools(sent, body)
    _add_output(sent, body)
    return _with_temperature(sent)


def _split(messages: Iterable[Mapping[str, Any]]) -> tuple[str | list[Block], list[tuple[str, list[Block]]]]:
    """Return the system prompt, and the other messages with their roles."""
    system: list[Block] = []
    rest: list[tuple[str, list[Block]]] = []
    for message in messages:
        role = str(message.get("role"))
        if role in ("system", "developer"):
            system += _marked(message, list(_contents(message)))
        elif role in ("tool", "function"):
            rest.append(("user", _marked(message, [_result(message)])))
        elif role in ("user", "assistant"):
            rest.append((role, _marked(message, list(_blocks(message)))))
        else:
            raise refused(f"Anthropic's API has no messages with the role {role[:40]!r}")
    if all(set(block) == {"type", "text"} and block["type"] == "text" for block in system):
        return "\n\n".join(block["text"] for block in system), rest
    return system, rest


def _merged(messages: Iterable[tuple[str, list[Block]]]) -> Iterator[dict[str, Any]]:
    """Iterate over messages with alternating roles: the results of several tools must be in one message."""
    last: dict[str, Any] | None = None
    for role, blocks in messages:
        if not blocks:
            continue
        if last and last["role"] == role:
            last["content"] += blocks
            continue
        if last:
            yield last
        last = {"role": role, "content": blocks}
    if last:
        yield _prefilled(last) if last["role"] == "assistant" else last


def _prefilled(message: dict[str, Any]) -> dict[str, Any]:
    """Return a last message that the model continues; the API refuses white space at its end."""
    block = message["content"][-1]
    if block.get("type") == "text":
        block["text"] = block["text"].rstrip() or "…"
    return message


def _blocks(message: Mapping[str, Any]) -> Iterator[Block]:
    """Iterate over the blocks of a message: reasoning first, then the content, then the calls of tools."""
    for block in message.get("thinking_blocks") or ():
        if isinstance(block, Mapping):
            yield dict(block)
    yield from _contents(message)
    for identifier, name, arguments in calls_of(message):
        yield {"type": "tool_use", "id": identifier, "name": name, "input": arguments}


def _contents(message: Mapping[str, Any]) -> Iterator[Block]:
    for part in parts_of(message):
        if (text := text_of(part)) is not None:
            block = {"type": "text", "text": text} if text else None  # the API refuses empty texts
        elif (url := image_url(part)) is not None:
            block = {"type": "image", "source": _source(url)}
        elif part.get("type") in NATIVE:
            block = dict(part)
        else:
            raise refused(f"Anthropic's API does not support parts of the kind {str(part.get('type'))[:40]!r}")
        if block is not None:
            yield _with_mark(block, part)


def _result(message: Mapping[str, Any]) -> Block:
    contents = list(_contents(message))
    plain = len(contents) == 1 and set(contents[0]) == {"type", "text"}
    return {
        "type": "tool_result",
        "tool_use_id": str(message.get("tool_call_id") or ""),
        "content": contents[0]["text"] if plain else contents,
    }


def _source(url: str) -> dict[str, Any]:
    if (found := data_of(url)) is None:
        return {"type": "url", "url": url}
    return {"type": "base64", "media_type": found[0], "data": found[1]}


def _marked(message: Mapping[str, Any], blocks: list[Block]) -> list[Block]:
    """Return the blocks; a mark of the whole message is set on the last one."""
    if blocks:
        blocks[-1] = _with_mark(blocks[-1], message)
    return blocks


def _with_mark(block: Block, marked: Mapping[str, Any]) -> Block:
    mark = marked.get("cache_control")
    return {**block, "cache_control": mark} if mark is not None else block


def _add_tools(sent: dict[str, Any], body: Mapping[str, Any]) -> None:
    if not body.get("tools"):
        return
    sent["tools"] = [_with_mark(_with_mark(_tool(function), function), tool) for tool, function in functions_of(body)]
    choice = body.get("tool_choice")
    if isinstance(choice, str) and choice in CHOICES:
        sent["tool_choice"] = {"type": CHOICES[choice]}
    elif isinstance(choice, Mapping) and isinstance(choice.get("function"), Mapping):
        sent["tool_choice"] = {"type": "tool", "name": choice["function"].get("name")}
    if body.get("parallel_tool_calls") is False and sent.get("tool_choice") != {"type": "none"}:
        sent["tool_choice"] = {**sent.get("tool_choice", {"type": "auto"}), "disable_parallel_tool_use": True}


def _tool(function: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: function[name] for name in ("name", "description", "strict") if function.get(name) is not None}
    return {**kept, "input_schema": function.get("parameters") or {"type": "object", "properties": {}}}


def _add_output(sent: dict[str, Any], body: Mapping[str, Any]) -> None:
    """Add the JSON schema and the effort of reasoning. JSON without a schema has no equivalent."""
    output: dict[str, Any] = {}
    if (schema := schema_of(body)) is not None:
        output["format"] = {"type": "json_schema", "schema": schema}
    effort = body.get("reasoning_effort")
    if effort == "none":
        sent.setdefault("thinking", {"type": "disabled"})
    elif isinstance(effort, str):
        sent.setdefault("thinking", {"type": "adaptive"})
        output["effort"] = "low" if effort == "minimal" else effort
    if output:
        given = sent.get("output_config")
        sent["output_config"] = {**output, **given} if isinstance(given, Mapping) else output


def _with_temperature(sent: dict[str, Any]) -> dict[str, Any]:
    """Return the body with a temperature that the API accepts: up to 1, and none together with reasoning."""
    thinking = sent.get("thinking")
    if isinstance(thinking, Mapping) and thinking.get("type") in ("enabled", "adaptive"):
        return {name: value for name, value in sent.items() if name not in ("temperature", "top_k")}
    if isinstance(sent.get("temperature"), int | float):
        sent["temperature"] = min(sent["temperature"], 1)
    return sent
