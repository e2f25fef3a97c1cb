"""An HTTP server that answers every path with one function and records the requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from aiohttp import web


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """One recorded request."""

    method: str
    target: str
    """Path and query; the whole address if the server was used as a proxy."""
    headers: Mapping[str, str]
    body: bytes


class AnyServer:
    """Answers each request with the result of `answer`: JSON, or a tuple of status and JSON, or an aiohttp response."""

    def __init__(self, answer: Callable[[ReceivedRequest], Any], host: str = "127.0.0.1", port: int = 0) -> None:
        self._answer = answer
        self._runner: web.ServerRunner | None = None
        self.requests: list[ReceivedRequest] = []
        self.host, self.port = host, port

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._respond, access_log=None))  # type: ignore[arg-type]
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, self.port).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._runner:
            await self._runner.cleanup()

    @property
    def address(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        received = ReceivedRequest(request.method, request.raw_path, dict(request.headers), await request.read())
        self.requests.append(received)
        answer = self._answer(received)
        if isinstance(answer, web.StreamResponse):
            return answer
        status, value = answer if isinstance(answer, tuple) else (200, answer)
        return web.json_response(value, status=status)
