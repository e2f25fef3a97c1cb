"""Sends the answers of the scripted model server: whole or as events, at the speed and with the fault of the script."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from tests.kit.model_script import Fault, FaultKind, ScriptedModel, tokens_of

HTML = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
MIDWAY = frozenset({FaultKind.HANG, FaultKind.DISCONNECT, FaultKind.ERROR_IN_STREAM, FaultKind.NO_END})
FOREVER = 10**9


class Progress(Protocol):
    """Receives the progress of a reply."""

    tokens_sent: int
    begun: asyncio.Event


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to send."""

    id: str
    model: ScriptedModel
    text: str
    request: Mapping[str, Any]

    def tokens(self) -> list[str]:
        return tokens_of(self.text)[: self.request.get("max_tokens") or FOREVER]

    def finish_reason(self) -> str:
        if self.model.tool_calls:
            return "tool_calls"
        return "length" if len(self.tokens()) < len(tokens_of(self.text)) else "stop"

    def usage(self) -> dict[str, int] | None:
        if self.model.usage is False:
            return None
        if self.model.usage is True:
            prompt = sum(len(tokens_of(str(message.get("content") or ""))) for message in self.request["messages"])
            given, written = prompt, len(self.tokens()) + len(tokens_of(self.model.reasoning))
        else:
            given, written = self.model.usage
        return {"prompt_tokens": given, "completion_tokens": written, "total_tokens": given + written}

    def whole(self, usage: bool = True, choices: bool = True) -> dict[str, Any]:
        """Return the reply as one JSON object."""
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self.tokens())}
        if self.model.tool_calls:
            message["tool_calls"] = list(self.model.tool_calls)
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason()}
        value = self._envelope("chat.completion", [choice] if choices else [])
        return {**value, "usage": self.usage()} if usage and self.usage() else value

    def chunk(self, delta: Mapping[str, Any], finish_reason: str | None = None) -> bytes:
        """Return one event of the stream."""
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return event(self._envelope("chat.completion.chunk", [choice]))

    def ending(self, usage: bool = True) -> bytes:
        """Return the events after the last token."""
        tools = [{"index": i, **call} for i, call in enumerate(self.model.tool_calls)]
        last = self.chunk({"tool_calls": tools} if tools else {}, self.finish_reason())
        if usage and self.usage() and (self.request.get("stream_options") or {}).get("include_usage"):
            last += event({**self._envelope("chat.completion.chunk", []), "usage": self.usage()})
        return last + b"data: [DONE]\n\n"

    def _envelope(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": int(time.time()),
            "model": self.model.name,
            "choices": choices,
        }


def event(value: Any) -> bytes:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


def error_body(status: int, message: str, kind: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return an error in the format of OpenAI and of Ollama's /v1."""
    error = {"message": message, "type": kind, "param": None, "code": None}
    return web.json_response({"error": error}, status=status, headers=headers)


async def send(request: web.Request, reply: Reply, fault: Fault | None, progress: Progress) -> web.StreamResponse:
    """Send the reply to a request, with the fault."""
    if fault and fault.after_tokens is None:
        if fault.kind is FaultKind.HANG:
            await asyncio.Event().wait()
        if fault.kind is FaultKind.DISCONNECT:
            return _disconnect(request)
    if fault and fault.kind is FaultKind.GARBAGE_BODY:
        return web.Response(text=HTML if fault.body is None else fault.body, content_type="text/html")
    if not (reply.request.get("stream") and reply.model.streams):
        return await _send_whole(reply, fault)
    return await _Stream(request, reply, fault, progress).send()


async def _send_whole(reply: Reply, fault: Fault | None) -> web.StreamResponse:
    speed = reply.model.tokens_per_s
    await asyncio.sleep(reply.model.first_token_s + (len(reply.tokens()) / speed if speed else 0))
    kind = fault.kind if fault else None
    value = reply.whole(usage=kind is not FaultKind.NO_USAGE, choices=kind is not FaultKind.NO_CHOICES)
    content_type = "text/plain" if kind is FaultKind.WRONG_TYPE else "application/json"
    return web.json_response(value, content_type=content_type)


class _Stream:
    """Sends one reply as server-sent events."""

    def __init__(self, request: web.Request, reply: Reply, fault: Fault | None, progress: Progress) -> None:
        self._request = request
        self._reply = reply
        self._fault = fault
        self._kind = fault.kind if fault else None
        self._progress = progress
        kind = "text/plain" if self._kind is FaultKind.WRONG_TYPE else "text/event-stream"
        self._response = web.StreamResponse(headers={"Content-Type": kind, "Cache-Control": "no-cache"})

    async def send(self) -> web.StreamResponse:
        await self._response.prepare(self._request)
        self._progress.begun.set()
        if self._kind is FaultKind.GARBAGE_EVENTS:
            await self._write(b"data: {not json at all\n\n" * 3)
        elif self._kind is FaultKind.NO_CHOICES:
            await self._write(event({"id": self._reply.id, "choices": []}) + b"data: [DONE]\n\n")
        else:
            await self._send_tokens()
            if self._kind in MIDWAY:
                return await self._break_off()
            await self._write(self._reply.ending(usage=self._kind is not FaultKind.NO_USAGE))
        await self._response.write_eof()
        return self._response

    async def _send_tokens(self) -> None:
        model, began = self._reply.model, time.monotonic()
        await asyncio.sleep(model.first_token_s)
        batch = self._reply.chunk({"role": "assistant", "content": ""})
        for number, delta in enumerate(self._deltas()):
            batch += self._reply.chunk(delta)
            if model.tokens_per_s:
                await self._write(batch)
                batch = b""
                due = began + model.first_token_s + (number + 1) / model.tokens_per_s
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            self._progress.tokens_sent = number + 1
        await self._write(batch)

    def _deltas(self) -> Iterator[dict[str, str]]:
        limit = (self._fault.after_tokens or 0) if self._fault and self._kind in MIDWAY else FOREVER
        pieces = [{"reasoning_content": token} for token in tokens_of(self._reply.model.reasoning)]
        pieces += [{"content": token} for token in self._reply.tokens()]
        yield from pieces[:limit]

    async def _break_off(self) -> web.StreamResponse:
        """Apply the fault after `after_tokens`."""
        assert self._fault is not None
        if self._kind is FaultKind.HANG:
            await asyncio.Event().wait()
        if self._kind is FaultKind.DISCONNECT:
            return _disconnect(self._request, self._response)
        if self._kind is FaultKind.ERROR_IN_STREAM:
            error = {"message": f"scripted {self._fault.status}", "type": "scripted", "code": self._fault.status}
            await self._write(event({"error": error}))
        await self._response.write_eof()
        return self._response

    async def _write(self, data: bytes) -> None:
        if self._kind is not FaultKind.DRIP:
            await self._response.write(data)
            return
        for i in range(len(data)):
            await self._response.write(data[i : i + 1])
            await asyncio.sleep(0)


def _disconnect(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    """Close the connection. Written data is flushed; the end of the answer is not sent."""
    if request.transport:
        request.transport.close()
    return response or web.Response()
