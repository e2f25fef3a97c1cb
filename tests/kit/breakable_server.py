"""A scripted HTTP server of the test kit that fails, hangs and restarts on demand, without losing its port.

class Server(BreakableServer):
    def routes(self): return [web.get("/models", self._models)]

async with Server() as server:
    server.fail("/models", 500, "no space left on device"); server.drop("GET /models")
    await server.close_port(); await server.open_port()
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Self

from aiohttp import web


class ServerFault(Exception):
    """An error response: a status and a message."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class BreakableServer:
    """One server on a port of its own."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        """Counts by method and path: `GET /models`."""
        self.port = 0
        self._faults: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
        self._drops: Counter[str] = Counter()
        self._go = asyncio.Event()
        self._go.set()
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None

    async def __aenter__(self) -> Self:
        # handler_cancellation: a client that disconnects ends the generation.
        self._runner = web.AppRunner(self._app(), handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await self.open_port()
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._runner:
            await self.close_port()
            await self._runner.cleanup()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.address}/v1"

    def routes(self) -> Sequence[web.RouteDef]:
        raise NotImplementedError

    def path_of(self, request: web.Request) -> str:
        """Return the path under which a call is counted and fails."""
        return request.path

    def error_body(self, fault: ServerFault) -> object:
        """Return the body of an error response in the server's own format."""
        raise NotImplementedError

    def fail(self, path: str, status: int, message: str, times: int = 1) -> None:
        """Answer the next `times` calls of a path with this error."""
        self._faults[path] += [(status, message)] * times

    def drop(self, call: str, times: int = 1) -> None:
        """Break the connection of the next such calls (a key of `calls`), like a server that crashes. On a reused
        connection, the client repeats a call once."""
        self._drops[call] += times

    def hold(self) -> None:
        """Hold all answers until `release`."""
        self._go.clear()

    def release(self) -> None:
        self._go.set()

    async def close_port(self) -> None:
        """Close the port and every connection, like a killed process."""
        if self._site:
            await self._site.stop()
            self._site = None
        server = self._runner.server if self._runner else None
        for connection in server.connections if server else ():
            if connection.transport:
                connection.transport.abort()

    async def open_port(self) -> None:
        """Open the port again, with the same number."""
        assert self._runner
        if self._site is None:
            self._site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
            await self._site.start()
            self.port = self._runner.addresses[-1][1]

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=64 * 1024 * 1024, middlewares=[self._watched])
        app.add_routes(self.routes())
        return app

    @web.middleware
    async def _watched(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        path = self.path_of(request)
        call = f"{request.method} {path}"
        self.calls[call] += 1
        if self._drops[call] and request.transport:
            self._drops[call] -= 1
            request.transport.abort()
        try:
            if self._faults[path]:
                raise ServerFault(*self._faults[path].pop(0))
            return await handler(request)
        except ServerFault as fault:
            return web.json_response(self.error_body(fault), status=fault.status)


async def stream_lines(request: web.Request, content_type: str, lines: Sequence[str]) -> web.StreamResponse:
    """Send a body line by line."""
    response = web.StreamResponse(headers={"Content-Type": content_type})
    await response.prepare(request)
    for line in lines:
        await response.write(line.encode())
    await response.write_eof()
    return response
