"""Pulls models to Ollama servers, in background tasks of the daemon that received the request.

Every daemon shows and cancels every pull (`PullBoard`). A pull ends when its daemon does; Ollama continues a
repeated one where it stopped.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from kairos.background_tasks import end
from kairos.db.engine import Database
from kairos.db.models import AuditAction
from kairos.db.repositories.access import people
from kairos.errors import Conflict, EngineUnavailable, NotFound
from kairos.fine_tuning.adapters.ollama_calls import full_name
from kairos.orchestration.providers.ollama.managed_ollama import ManagedOllama, PullFailed
from kairos.orchestration.providers.ollama.model_name import clean_model_name
from kairos.orchestration.providers.ollama.ollama_servers import NotOllama, OllamaServers
from kairos.orchestration.providers.ollama.pull_board import (
    MOST_PULLS,
    BeatResult,
    PullBoard,
    PullRecord,
    PullsOf,
    PullState,
)
from kairos.orchestration.providers.ollama.pull_problem import PullProblem, interrupted
from kairos.orchestration.providers.provider_store import ProviderOwner, StoredProvider
from kairos.tenancy import new_id

log = logging.getLogger(__name__)

BEAT_S = 0.5
"""Pause between two reports to Redis."""
CHECK_S = 5.0
"""Pause between two checks that the provider still exists."""
MOST_HERE = 50
"""Pulls of one daemon."""
FINISH_TRIES = 20


@dataclass(slots=True)
class RunningPull:
    """A pull of this daemon."""

    owner: ProviderOwner
    where: PullsOf
    server: ManagedOllama
    insecure: bool
    record: PullRecord
    checked_at: float

    @property
    def name(self) -> str:
        return self.record.model


class OllamaPulls:
    """Starts, watches, lists and cancels pulls."""

    def __init__(self, database: Database, servers: OllamaServers, board: PullBoard) -> None:
        self._database = database
        self._servers = servers
        self._board = board
        self._tasks: set[asyncio.Task[None]] = set()

    async def aclose(self) -> None:
        """End the pulls of this daemon, which are then shown as interrupted."""
        await end(*self._tasks)

    async def list(self, owner: ProviderOwner, provider_id: UUID) -> list[PullRecord]:
        """The pulls of a provider in the last day, newest first. Raises `NotFound`, `NotOllama`."""
        await self._servers.provider(owner, provider_id)
        return await self._board.list(PullsOf(owner.project_id, provider_id))

    async def start(self, owner: ProviderOwner, provider_id: UUID, name: str, *, insecure: bool) -> PullRecord:
        """Start a pull. It does not wait for the server.

        Raises `NotFound`, `NotOllama`, `InvalidInput`, `Conflict`, `ServerProblem`.
        """
        name = clean_model_name(name)
        found = await self._servers.provider(owner, provider_id)
        self._servers.check_registry(owner, found, name, insecure=insecure)
        server = self._servers.server(owner, found)
        where = PullsOf(owner.project_id, provider_id)
        await self._check_new(where, name)
        record = PullRecord(new_id(), name, datetime.now(UTC))
        if not await self._board.start(where, record):
            raise _too_many(f"{MOST_PULLS} pulls of this provider are running, which is the limit")
        await self._audit_start(owner, found, where, record)
        pull = RunningPull(owner, where, server, insecure, record, time.monotonic())
        task = asyncio.create_task(self._run(pull))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return record

    async def cancel(self, owner: ProviderOwner, provider_id: UUID, pull_id: UUID) -> PullRecord:
        """Ask for the end of a pull, on whichever daemon it runs; one that has ended stays as it is.

        Raises `NotFound`, `NotOllama`.
        """
        found = next((record for record in await self.list(owner, provider_id) if record.id == pull_id), None)
        if found is None:
            raise NotFound(what="pull", id=pull_id)
        await self._board.cancel(PullsOf(owner.project_id, provider_id), pull_id)
        return found

    async def _check_new(self, where: PullsOf, name: str) -> None:
        running = [record for record in await self._board.list(where) if record.state is PullState.RUNNING]
        if any(full_name(record.model) == full_name(name) for record in running):
            raise Conflict(
                what=f"Pulling {name}", reason="it is being pulled already", remedy="Wait for its end, or cancel it"
            )
        if len(self._tasks) >= MOST_HERE:
            raise _too_many(f"this daemon runs {MOST_HERE} pulls, which is the limit")

    async def _audit_start(
        self, owner: ProviderOwner, found: StoredProvider, where: PullsOf, record: PullRecord
    ) -> None:
        """Write the audit entry. If that fails, the pull does not begin."""
        try:
            async with self._database.scope(owner.scope) as session:
                await people.audit(
                    session,
                    AuditAction.PROVIDER_PULL_STARTED,
                    user_id=owner.user_id,
                    project_id=owner.project_id,
                    target=record.model,
                    data={"provider": found.row.name},
                )
        except BaseException:
            with suppress(EngineUnavailable):
                await self._board.remove(where, record.id)
            raise

    async def _run(self, pull: RunningPull) -> None:
        """Download, and report to the board until the end."""
        download = asyncio.create_task(self._download(pull))
        try:
            if (reason := await self._watch(pull, download)) is not None:
                await end(download)
                pull.record = reason
        except asyncio.CancelledError:  # this daemon stops
            await end(download)
            if pull.record.state is PullState.RUNNING:
                pull.record = pull.record.ended(PullState.INTERRUPTED, interrupted())
            with suppress(EngineUnavailable):
                await self._board.finish(pull.where, pull.record)
            raise
        await self._finish(pull)

    async def _download(self, pull: RunningPull) -> None:
        try:
            async for progress in pull.server.pull(pull.name, insecure=pull.insecure):
                pull.record = replace(pull.record, progress=progress)
            pull.record = pull.record.ended(PullState.SUCCEEDED)
        except PullFailed as error:
            pull.record = pull.record.ended(PullState.FAILED, error.problem)
        except Exception:
            log.exception("the pull %s failed unexpectedly", pull.record.id)
            problem = PullProblem("an internal error occurred", "See the daemon's log")
            pull.record = pull.record.ended(PullState.FAILED, problem)

    async def _watch(self, pull: RunningPull, download: asyncio.Task[None]) -> PullRecord | None:
        """Report until the download ends. Returns the record of a pull that must end before."""
        while True:
            await asyncio.wait([download], timeout=BEAT_S)
            if download.done():
                return None
            result = await self._beat(pull)
            if download.done():
                return None
            if result is BeatResult.CANCEL:
                return pull.record.ended(PullState.CANCELLED)
            if result is BeatResult.LOST:
                return pull.record.ended(PullState.INTERRUPTED, interrupted())
            if not await self._provider_exists(pull):
                return pull.record.ended(PullState.CANCELLED)

    async def _beat(self, pull: RunningPull) -> BeatResult:
        """Report to the board. While Redis is unavailable the pull goes on; after `LEASE_S` it is lost."""
        try:
            return await self._board.beat(pull.where, pull.record)
        except EngineUnavailable:
            return BeatResult.OK

    async def _provider_exists(self, pull: RunningPull) -> bool:
        """Whether the provider is still there, so that somebody can see and cancel the pull."""
        now = time.monotonic()
        if now < pull.checked_at + CHECK_S:
            return True
        pull.checked_at = now
        try:
            await self._servers.provider(pull.owner, pull.where.provider_id)
        except (NotFound, NotOllama):
            return False
        except EngineUnavailable:
            pass
        return True

    async def _finish(self, pull: RunningPull) -> None:
        """Write the end. Tried again while Redis is unavailable, for as long as the pull's slot may exist."""
        for _ in range(FINISH_TRIES):
            try:
                return await self._board.finish(pull.where, pull.record)
            except EngineUnavailable:
                await asyncio.sleep(2 * BEAT_S)
        log.warning("the end of the pull %s (%s) could not be written to Redis", pull.record.id, pull.record.state)
        return None


def _too_many(reason: str) -> Conflict:
    return Conflict(what="Another pull", reason=reason, remedy="Wait for the end of one, or cancel it")
