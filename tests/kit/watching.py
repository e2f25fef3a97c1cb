"""Clients that receive the live events of a project over a real WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import aiohttp
from sqlalchemy import insert

from kairos.api.access.tokens import AccessClaims
from kairos.assembly import Components
from kairos.background_tasks import end
from kairos.db.models import SessionRow
from kairos.tenancy import ProjectId, Scope, UserId, new_id
from tests.kit.api import Caller, serving
from tests.kit.conditions import eventually
from tests.kit.kairos_app import KairosApp


class Watcher:
    """Records the messages of a WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.received: list[dict[str, Any]] = []
        self.reading = asyncio.create_task(self._read())

    @property
    def events(self) -> list[dict[str, Any]]:
        return [message for message in self.received if message["type"] == "event"]

    @property
    def kinds(self) -> list[str]:
        return [message["kind"] for message in self.events]

    @property
    def deltas(self) -> list[dict[str, Any]]:
        return [message for message in self.received if message["type"] == "delta"]

    @property
    def cursor(self) -> str:
        """The cursor of the last message that has one."""
        return [message["cursor"] for message in self.received if "cursor" in message][-1]

    async def wait_for_hello(self) -> Watcher:
        """Wait for the first message."""
        await eventually(lambda: self.received, why="the hello message arrives")
        return self

    async def wait_for(self, *kinds: str, within_s: float = 20) -> list[dict[str, Any]]:
        """Wait until events of all these kinds have arrived, in any order, and return them."""
        await eventually(lambda: set(kinds) <= set(self.kinds), within_s, f"{kinds} arrive; received: {self.kinds}")
        return [event for event in self.events if event["kind"] in kinds]

    async def closed(self, within_s: float = 5) -> int:
        """Wait until the socket is closed and return the close code."""
        await asyncio.wait_for(asyncio.shield(self.reading), within_s)
        assert self.socket.close_code is not None
        return self.socket.close_code

    async def _read(self) -> None:
        async for message in self.socket:
            self.received.append(message.json())


@asynccontextmanager
async def watching(
    caller: Caller, after: str = "", ticket: str | None = None, **options: Any
) -> AsyncIterator[Watcher]:
    """Open a WebSocket with the given ticket, or with a new ticket of the caller."""
    if ticket is None:
        ticket = (await caller.post("/api/events/ticket"))["ticket"]
    parameters = {"ticket": ticket, "after": after}
    async with caller.connect("/api/events", params=parameters, **options) as socket:
        watcher = Watcher(socket)
        try:
            yield watcher
        finally:
            await end(watcher.reading)


@asynccontextmanager
async def background(parts: Components) -> AsyncIterator[None]:
    """Run the background tasks of a daemon with `--role api`."""
    tasks = [asyncio.create_task(run()) for run in parts.background]
    try:
        yield
    finally:
        await end(*tasks)


async def with_session(
    parts: Components, caller: Caller, user_id: UserId, project_id: ProjectId
) -> tuple[Caller, UUID]:
    """Open a session. Returns a caller with an access token of the user for the project, and the session id."""
    session_id = new_id()
    async with parts.storage.database.scope(Scope(user_id=user_id)) as session:
        row = {"id": session_id, "user_id": user_id, "client": "test", "expires_at": datetime.now(UTC) + timedelta(1)}
        await session.execute(insert(SessionRow).values(row))
    token = await parts.api.keys.issue(AccessClaims(user_id, session_id, project_id), 600)
    return caller.with_token(token), session_id


@asynccontextmanager
async def signed_in_api(
    parts: Components, user_id: UserId, project_id: ProjectId, *, run_background: bool = True
) -> AsyncIterator[Caller]:
    """Serve a daemon's API and yield a caller with a session. `run_background`: run the background tasks too."""
    async with serving(parts) as anonymous:
        caller, _ = await with_session(parts, anonymous, user_id, project_id)
        if not run_background:
            yield caller
            return
        async with background(parts):
            yield caller


def signed_in_api_of(app: KairosApp, *, run_background: bool = True):
    """Serve the API of the app and yield its owner, signed in."""
    return signed_in_api(app.parts, app.user_id, app.project_id, run_background=run_background)
