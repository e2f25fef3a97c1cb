"""The protocols of model servers for contract tests: what a server of each kind sends, and what it was sent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Script:
    """An answer, independent of protocols."""

    texts: tuple[str, ...] = ("Hello", ", ", "Ada ✓")
    reasoning: tuple[str, ...] = ()
    calls: tuple[tuple[str, str, Json], ...] = ()
    """Tool calls: id, name and arguments."""
    reason: str = "stop"
    """`stop`, `length` or `tools`."""
    usage: tuple[int, int] | None = (12, 3)
    cached: int = 0
    load_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What a server found in a request, independent of protocols."""

    key: str | None
    system: str
    texts: list[str]
    """The texts of the other messages, in order."""
    images: list[str]
    """Base64."""
    tools: list[str]
    calls: list[tuple[str, Json]]
    """Earlier tool calls: name and arguments."""
    results: list[str]
    """The results of tools."""
    schema: Json | None
    limit: int | None
    temperature: float | None
    stop: list[str]
    reasons: bool
    """Whether reasoning was requested."""
    marks: int
    """The number of `cache_control` marks."""
    context: int | None


class Kind(Protocol):
    """A kind of server."""

    @property
    def protocol(self) -> str: ...

    def base_url(self, address: str) -> str: ...

    def stream(self, script: Script) -> list[bytes]:
        """Return the pieces of a streamed answer: one for each text, with others before and after."""
        ...

    def whole(self, script: Script) -> bytes:
        """Return an answer that is not streamed."""
        ...

    def error(self, message: str, kind: str = "api_error") -> Json:
        """Return the body of an error; `kind` is one of Anthropic's types."""
        ...

    def error_piece(self, message: str, kind: str) -> bytes:
        """Return an error within a stream."""
        ...

    def noise(self) -> bytes:
        """Return something unknown or empty that a stream may contain at any place."""
        ...

    def seen(self, headers: Json, body: Json) -> Seen: ...

    def documents(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the list of models by path, and what is reported of the first one."""
        ...


def event(value: object) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()


def _bearer(headers: Json) -> str | None:
    return headers.get("Authorization", "").removeprefix("Bearer ") or None


def _marks(value: Any) -> int:
    if isinstance(value, Mapping):
        return ("cache_control" in value) + sum(map(_marks, value.values()))
    return sum(map(_marks, value)) if isinstance(value, list) else 0


def _parts(content: Any) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or ())


def _text(content: Any) -> str:
    return "".join(part.get("text", "") for part in _parts(content))


@dataclass(frozen=True, slots=True)
class OpenAiKind:
    protocol: str = "openai"

    def base_url(self, address: str) -> str:
        return f"{address}/v1"

    def stream(self, script: Script) -> list[bytes]:
        pieces = [event(_delta(reasoning_content=text)) for text in script.reasoning]
        pieces += [event(_delta(content=text)) for text in script.texts]
        for place, call in enumerate(script.calls):
            text = json.dumps(call[2])
            first = {"index": place, "id": call[0], "function": {"name": call[1], "arguments": text[:5]}}
            pieces.append(event(_delta(tool_calls=[first])))
            pieces.append(event(_delta(tool_calls=[{"index": place, "function": {"arguments": text[5:]}}])))
        pieces.append(
            event({**_delta(), "choices": [{"index": 0, "delta": {}, "finish_reason": self._reason(script)}]})
        )
        if script.usage:
            pieces.append(event({"choices": [], "usage": self._usage(script)}))
        return [*pieces, b"data: [DONE]\n\n"]

    def whole(self, script: Script) -> bytes:
        message = {
            "content": "".join(script.texts),
            "reasoning_content": "".join(script.reasoning),
            "tool_calls": list(map(_call, script.calls)),
        }
        choice = {"index": 0, "message": message, "finish_reason": self._reason(script)}
        return json.dumps({"model": "up", "choices": [choice], "usage": self._usage(script)}).encode()

    def error(self, message: str, kind: str = "api_error") -> Json:
        return {"error": {"message": message, "type": kind}}

    def error_piece(self, message: str, kind: str) -> bytes:
        return event(self.error(message, kind))

    def noise(self) -> bytes:
        return b': keep-alive\n\nevent: vendor.status\ndata: {"queue": 3}\n\n'

    def seen(self, headers: Json, body: Json) -> Seen:
        return _seen_openai(_bearer(headers), body)

    def documents(self, names: Sequence[str]) -> dict[str, Any]:
        rows = [
            {
                "id": name,
                "context_length": 32_768,
                "supported_parameters": ["tools", "reasoning", "structured_outputs"],
                "architecture": {"input_modalities": ["text", "image"]},
                "pricing": {"prompt": "0.000001", "completion": "0.000002"},
            }
            for name in names
        ]
        return {"/v1/models": {"object": "list", "data": rows}}

    def _reason(self, script: Script) -> str:
        return {"stop": "stop", "length": "length", "tools": "tool_calls"}[script.reason]

    def _usage(self, script: Script) -> Json | None:
        if script.usage is None:
            return None
        details = {"cached_tokens": script.cached}
        return {
            "prompt_tokens": script.usage[0],
            "completion_tokens": script.usage[1],
            "prompt_tokens_details": details,
        }


def _delta(**delta: Any) -> dict[str, Any]:
    return {"model": "up", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def _call(call: tuple[str, str, Json]) -> dict[str, Any]:
    return {"id": call[0], "type": "function", "function": {"name": call[1], "arguments": json.dumps(call[2])}}


def _seen_openai(key: str | None, body: Json) -> Seen:
    """Read a request in the OpenAI form, or a similar one."""
    messages = body["messages"]
    rest = [message for message in messages if message["role"] not in ("system", "tool")]
    calls = [call["function"] for message in messages for call in message.get("tool_calls", ())]
    images = [part["image_url"]["url"] for m in rest for part in _parts(m["content"]) if part["type"] == "image_url"]
    form = body.get("response_format", {})
    return Seen(
        key=key,
        system="\n".join(_text(message["content"]) for message in messages if message["role"] == "system"),
        texts=[text for message in rest if (text := _text(message["content"]))],
        images=[url.partition(",")[2] for url in images],
        tools=[tool["function"]["name"] for tool in body.get("tools", ())],
        calls=[(call["name"], json.loads(call["arguments"])) for call in calls],
        results=[_text(message["content"]) for message in messages if message["role"] == "tool"],
        schema=form.get("json_schema", {}).get("schema") or form.get("json_schema"),
        limit=body.get("max_tokens"),
        temperature=body.get("temperature"),
        stop=body.get("stop") or body.get("stop_sequences") or [],
        reasons="reasoning_effort" in body or body.get("thinking", {}).get("type") == "enabled",
        marks=_marks(body),
        context=None,
    )


@dataclass(frozen=True, slots=True)
class OllamaKind:
    protocol: str = "ollama"

    def base_url(self, address: str) -> str:
        return address

    def stream(self, script: Script) -> list[bytes]:
        values = [self._message(thinking=text) for text in script.reasoning]
        values += [self._message(content=text) for text in script.texts]
        if script.calls:
            values.append(self._message(tool_calls=self._calls(script)))
        return [f"{json.dumps(value)}\n".encode() for value in [*values, self._end(script)]]

    def whole(self, script: Script) -> bytes:
        message = {
            "content": "".join(script.texts),
            "thinking": "".join(script.reasoning),
            "tool_calls": self._calls(script),
        }
        return json.dumps({**self._end(script), "message": message}).encode()

    def error(self, message: str, kind: str = "api_error") -> Json:
        return {"error": message}

    def error_piece(self, message: str, kind: str) -> bytes:
        status = {"overloaded_error": 503, "rate_limit_error": 429}.get(kind, 500)
        return f"{json.dumps({'error': message, 'status': status})}\n".encode()

    def noise(self) -> bytes:
        return b'\n{"model": "up", "created_at": "2026-11-30T10:00:00Z"}\n'

    def seen(self, headers: Json, body: Json) -> Seen:
        messages, options = body["messages"], body["options"]
        rest = [message for message in messages if message["role"] not in ("system", "tool")]
        calls = [call["function"] for message in messages for call in message.get("tool_calls", ())]
        return Seen(
            key=_bearer(headers),
            system="\n".join(message["content"] for message in messages if message["role"] == "system"),
            texts=[message["content"] for message in rest if message["content"]],
            images=[image for message in rest for image in message.get("images", ())],
            tools=[tool["function"]["name"] for tool in body.get("tools", ())],
            calls=[(call["name"], call["arguments"]) for call in calls],
            results=[message["content"] for message in messages if message["role"] == "tool"],
            schema=body.get("format"),
            limit=options.get("num_predict"),
            temperature=options.get("temperature"),
            stop=options.get("stop", []),
            reasons=bool(body.get("think")),
            marks=_marks(body),
            context=options.get("num_ctx"),
        )

    def documents(self, names: Sequence[str]) -> dict[str, Any]:
        shown = {
            "model_info": {"general.architecture": "llama", "llama.context_length": 32_768},
            "capabilities": ["completion", "tools", "vision", "thinking"],
        }
        rows = [{"name": name, "model": name, "size": 1, "details": {"family": "llama"}} for name in names]
        return {"/api/tags": {"models": rows}, "/api/show": shown}

    def _message(self, **fields: Any) -> dict[str, Any]:
        return {"model": "up", "message": {"role": "assistant", "content": "", **fields}, "done": False}

    def _calls(self, script: Script) -> list[Json]:
        return [
            {"id": call[0], "function": {"index": place, "name": call[1], "arguments": call[2]}}
            for place, call in enumerate(script.calls)
        ]

    def _end(self, script: Script) -> dict[str, Any]:
        end = {**self._message(), "done": True, "done_reason": "length" if script.reason == "length" else "stop"}
        if script.usage:
            end |= {"prompt_eval_count": script.usage[0], "eval_count": script.usage[1]}
        return {**end, "load_duration": int(script.load_s * 1e9), "total_duration": 10**9}


@dataclass(frozen=True, slots=True)
class AnthropicKind:
    protocol: str = "anthropic"

    def base_url(self, address: str) -> str:
        return address

    def stream(self, script: Script) -> list[bytes]:
        return [self._event(value) for value in self._values(script)]

    def whole(self, script: Script) -> bytes:
        content: list[Json] = []
        if script.reasoning:
            content.append({"type": "thinking", "thinking": "".join(script.reasoning), "signature": "c2ln"})
        content.append({"type": "text", "text": "".join(script.texts)})
        content += [{"type": "tool_use", "id": one[0], "name": one[1], "input": one[2]} for one in script.calls]
        usage = {**self._input(script), "output_tokens": script.usage[1]} if script.usage else None
        message = {"type": "message", "role": "assistant", "model": "up", "content": content}
        return json.dumps({**message, "stop_reason": self._reason(script), "usage": usage}).encode()

    def error(self, message: str, kind: str = "api_error") -> Json:
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}

    def error_piece(self, message: str, kind: str) -> bytes:
        return self._event(self.error(message, kind))

    def noise(self) -> bytes:
        return self._event({"type": "ping"}) + self._event({"type": "vendor_event", "index": 7, "delta": {}})

    def seen(self, headers: Json, body: Json) -> Seen:
        blocks = [block for message in body["messages"] for block in _parts(message["content"])]
        choice = body.get("output_config", {}).get("format", {})
        return Seen(
            key=headers.get("x-api-key"),
            system=_text(body.get("system")),
            texts=[block["text"] for block in blocks if block["type"] == "text"],
            images=[block["source"]["data"] for block in blocks if block["type"] == "image"],
            tools=[tool["name"] for tool in body.get("tools", ())],
            calls=[(block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"],
            results=[_text(block["content"]) for block in blocks if block["type"] == "tool_result"],
            schema=choice.get("schema"),
            limit=body["max_tokens"],
            temperature=body.get("temperature"),
            stop=body.get("stop_sequences", []),
            reasons=body.get("thinking", {}).get("type") == "adaptive",
            marks=_marks(body),
            context=None,
        )

    def documents(self, names: Sequence[str]) -> dict[str, Any]:
        yes = {"supported": True}
        rows = [
            {
                "type": "model",
                "id": name,
                "max_input_tokens": 32_768,
                "max_tokens": 8_192,
                "capabilities": {"image_input": yes, "thinking": yes, "structured_outputs": yes},
            }
            for name in names
        ]
        listed = {"data": rows, "has_more": False, "first_id": None, "last_id": rows[-1]["id"] if rows else None}
        return {"/v1/models": listed, **({f"/v1/models/{names[0]}": rows[0]} if names else {})}

    def _values(self, script: Script) -> Iterator[Json]:
        usage = {**self._input(script), "output_tokens": 1} if script.usage else None
        yield {"type": "message_start", "message": {"type": "message", "model": "up", "content": [], "usage": usage}}
        yield {"type": "ping"}
        index = 0
        if script.reasoning:
            deltas = [{"type": "thinking_delta", "thinking": text} for text in script.reasoning]
            yield from self._block(
                index, {"type": "thinking", "thinking": ""}, *deltas, {"type": "signature_delta", "signature": "c2ln"}
            )
            index += 1
        texts = [{"type": "text_delta", "text": text} for text in script.texts]
        yield from self._block(index, {"type": "text", "text": ""}, *texts)
        for identifier, name, arguments in script.calls:
            index += 1
            text = json.dumps(arguments)
            pieces = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", text[:5], text[5:])]
            yield from self._block(index, {"type": "tool_use", "id": identifier, "name": name, "input": {}}, *pieces)
        end = {"output_tokens": script.usage[1]} if script.usage else None
        yield {"type": "message_delta", "delta": {"stop_reason": self._reason(script)}, "usage": end}
        yield {"type": "message_stop"}

    def _block(self, index: int, block: Json, *deltas: Json) -> Iterator[Json]:
        yield {"type": "content_block_start", "index": index, "content_block": block}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}

    def _input(self, script: Script) -> dict[str, int]:
        assert script.usage
        return {
            "input_tokens": script.usage[0] - script.cached,
            "cache_read_input_tokens": script.cached,
            "cache_creation_input_tokens": 0,
        }

    def _reason(self, script: Script) -> str:
        return {"stop": "end_turn", "length": "max_tokens", "tools": "tool_use"}[script.reason]

    def _event(self, value: Json) -> bytes:
        return f"event: {value['type']}\n".encode() + event(value)


@dataclass(frozen=True, slots=True)
class CohereKind:
    """The protocol of the plugin in examples/plugins/CohereProvider.py."""

    protocol: str = "plugin:cohere"
    fields: Json = field(default_factory=dict)

    def base_url(self, address: str) -> str:
        return address

    def stream(self, script: Script) -> list[bytes]:
        values: list[Json] = [{"type": "message-start", "id": "1"}]
        values += [self._delta("content-delta", content={"thinking": text}) for text in script.reasoning]
        values += [self._delta("content-delta", content={"text": text}) for text in script.texts]
        for place, call in enumerate(script.calls):
            text = json.dumps(call[2])
            started = {**_call(call), "function": {"name": call[1], "arguments": text[:5]}}
            values.append({**self._delta("tool-call-start", tool_calls=started), "index": place})
            rest = {"function": {"arguments": text[5:]}}
            values.append({**self._delta("tool-call-delta", tool_calls=rest), "index": place})
            values.append({"type": "tool-call-end", "index": place})
        return [event(value) for value in [*values, {"type": "message-end", "delta": self._end(script)}]]

    def whole(self, script: Script) -> bytes:
        content = [{"type": "thinking", "thinking": "".join(script.reasoning)}] if script.reasoning else []
        content.append({"type": "text", "text": "".join(script.texts)})
        calls = [{**_call(call), "index": place} for place, call in enumerate(script.calls)]
        return json.dumps({**self._end(script), "message": {"content": content, "tool_calls": calls}}).encode()

    def error(self, message: str, kind: str = "api_error") -> Json:
        return {"message": message}

    def error_piece(self, message: str, kind: str) -> bytes:
        return event({"type": "message-end", "delta": {"finish_reason": "ERROR", "error": message}})

    def noise(self) -> bytes:
        return event({"type": "citation-start", "index": 0})

    def seen(self, headers: Json, body: Json) -> Seen:
        return _seen_openai(_bearer(headers), body)

    def documents(self, names: Sequence[str]) -> dict[str, Any]:
        return {"/v1/models": {"models": [{"name": name, "context_length": 32_768} for name in names]}}

    def _delta(self, kind: str, **message: Any) -> dict[str, Any]:
        return {"type": kind, "index": 0, "delta": {"message": message}}

    def _end(self, script: Script) -> dict[str, Any]:
        reason = {"stop": "COMPLETE", "length": "MAX_TOKENS", "tools": "TOOL_CALL"}[script.reason]
        tokens = {"input_tokens": script.usage[0], "output_tokens": script.usage[1]} if script.usage else None
        return {"finish_reason": reason, "usage": {"tokens": tokens} if tokens else None}


KINDS: Mapping[str, Kind] = {
    kind.protocol: kind for kind in (OpenAiKind(), OllamaKind(), AnthropicKind(), CohereKind())
}
