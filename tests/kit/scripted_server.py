"""An HTTP server that sends scripted bytes for each POST, of any protocol, and records the requests.

async with ScriptedServer() as server:
    server.reply(b"data: {}\\n\\n", b"data: [DONE]\\n\\n")
    server.reply(b'{"error": "busy"}', status=503, headers={"Retry-After": "7"})
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from tests.kit.raw_model import Then


@dataclass(slots=True)
class Received:
    """A recorded request."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    aborted: asyncio.Event = field(default_factory=asyncio.Event)
    """The client closed the connection before the end of the answer."""


@dataclass(frozen=True, slots=True)
class ScriptedReply:
    """The answer to one request: its pieces are sent one by one."""

    pieces: tuple[bytes, ...]
    status: int
    headers: Mapping[str, str]
    then: Then
    endless: bool
    """Whether the last piece is repeated until the client closes the connection."""


class ScriptedServer:
    """Answers POST with the scripted replies in order, the last one repeatedly; GET and lookups with `documents`."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.documents: dict[str, Any] = {}
        """JSON by path, without the query; a tuple is a status and JSON."""
        self._replies: list[ScriptedReply] = []
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        """Close the port and all connections."""
        if self._runner:
            for connection in self._runner.server.connections if self._runner.server else ():
                if connection.transport:
                    connection.transport.abort()
            await self._runner.cleanup()
            self._runner = None

    def reply(
        self,
        *pieces: bytes,
        status: int = 200,
        headers: Mapping[str, str] = {},
        then: Then = Then.CLOSE,
        endless: bool = False,
    ) -> None:
        """Script the answer to the next request."""
        self._replies.append(ScriptedReply(pieces, status, headers, then, endless))

    @property
    def last(self) -> Received:
        return self.received[-1]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        document = self.documents.get(request.path)
        received = Received(request.path_qs, dict(request.headers), json.loads(raw) if raw else {})
        self.received.append(received)
        if document is not None:
            status, value = document if isinstance(document, tuple) else (200, document)
            return web.json_response(value, status=status)
        if not self._replies:
            return web.json_response({"error": "not found"}, status=404)
        reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        return await self._send(request, received, reply)

    async def _send(self, request: web.Request, received: Received, reply: ScriptedReply) -> web.StreamResponse:
        response = web.StreamResponse(status=reply.status, headers=reply.headers)
        try:
            await response.prepare(request)
            for piece in reply.pieces:
                await response.write(piece)
                await asyncio.sleep(0)
            while reply.endless:
                await response.write(reply.pieces[-1])
                await asyncio.sleep(0)
            if reply.then is Then.HOLD:
                await asyncio.Event().wait()
            if reply.then is Then.RESET and request.transport:
                request.transport.abort()
            else:
                await response.write_eof()
        except (asyncio.CancelledError, ConnectionError):
            received.aborted.set()
            raise
        return response
