"""The API over real HTTP: a server on a free port, and its callers."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from uvicorn import Server
from yarl import URL

from kairos.api.access.accounts import SignedIn
from kairos.assembly import Components
from kairos.daemon import http_server
from kairos.tenancy import ProjectId, UserId
from tests.kit.conditions import eventually


@dataclass(frozen=True, slots=True)
class Reply:
    """A response of the API. Its body is parsed if it is JSON."""

    status: int
    headers: dict[str, str]
    body: Any

    def __getitem__(self, key: str) -> Any:
        return self.body[key]


class Caller:
    """A client of the API, with or without a token."""

    def __init__(self, session: aiohttp.ClientSession, token: str = "") -> None:
        self._session = session
        self.token = token

    @property
    def address(self) -> str:
        """The server's origin."""
        return str(self._session._base_url).rstrip("/")

    def with_token(self, token: str) -> Caller:
        return Caller(self._session, token)

    async def get(self, path: str, **options: Any) -> Reply:
        return await self.call("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Reply:
        return await self.call("POST", path, json=body, **options)

    def connect(self, path: str | URL, **options: Any):
        """Open a WebSocket. Its address carries the credentials: a browser does not send a token either."""
        return self._session.ws_connect(path, **options)

    async def call(self, method: str, path: str | URL, **options: Any) -> Reply:
        headers = {**options.pop("headers", {})}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        async with self._session.request(method, path, headers=headers, **options) as answer:
            text = await answer.read()
            is_json = answer.content_type.endswith("json")
            return Reply(answer.status, dict(answer.headers), await answer.json(content_type=None) if is_json else text)


@asynccontextmanager
async def serving(parts: Components) -> AsyncIterator[Caller]:
    """Run the daemon's HTTP server and yield a caller without a token."""
    # asyncio sets TCP_NODELAY only on sockets with an explicit protocol; without it, answers take 40 ms more.
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with (
            _running(http_server(parts.settings, parts.endpoint_components), listener),
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), base_url=address) as session,
        ):
            yield Caller(session)


@asynccontextmanager
async def _running(server: Server, listener: socket.socket) -> AsyncIterator[None]:
    """Start the server and stop it, without uvicorn's `serve`, which polls for the end and pauses when it stops."""
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.on_tick(0)  # sets the headers of all answers
    await server.startup(sockets=[listener])
    state = server.server_state
    try:
        yield
    finally:
        for accepting in server.servers:
            accepting.close()
        for connection in list(state.connections):
            connection.shutdown()
        await eventually(lambda: not state.connections and not state.tasks, 15, "all requests have ended", 0.002)


async def signed_in(parts: Components, caller: Caller, user_id: UserId, project_id: ProjectId) -> Caller:
    """Return a caller with an access token of the user for the project."""
    session: SignedIn = await parts.api.accounts.open_session(user_id, "test", project_id)
    assert session.project_id == project_id
    return caller.with_token(session.access_token)
