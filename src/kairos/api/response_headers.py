"""Set the headers of every response: browsers must not guess its type, and must not cache API responses."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kairos.api.problems import FOR_ALL, FOR_API, problem_of
from kairos.errors import KairosError


class SocketRefused(KairosError):
    """No WebSocket is served at this path or to pages of this origin. Open one at /api/events from the dashboard."""

    status, code, exit_code = 403, "socket_refused", 6


STARTS = ("http.response.start", "websocket.http.response.start")


class ResponseHeaders:
    """Middleware that sets the headers. Dashboard files keep their own Cache-Control."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        fixed = FOR_API if scope["path"].startswith("/api") else FOR_ALL
        undecided = scope["type"] == "websocket"

        async def with_headers(message: Message) -> None:
            nonlocal undecided
            if undecided and message["type"] == "websocket.close":
                # The server's default 403 to a handshake would have neither these headers nor a reason.
                return await problem_of(SocketRefused(), scope["path"])(scope, receive, send)
            undecided = False
            if message["type"] in STARTS:
                MutableHeaders(scope=message).update(fixed)
            await send(message)

        return await self._app(scope, receive, with_headers)
