"""Which adapters are in service, in this daemon: the database says which should be, their hosts serve them, and the
router gets them as candidates.

Every replica does this for itself, at its start, when another one gives notice, and every few seconds.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from kairos import redis_keys
from kairos.background_tasks import end, run_together
from kairos.config import FineTuningSettings
from kairos.db.engine import Database
from kairos.db.models import AdapterRow, AdapterState
from kairos.db.repositories import adapters
from kairos.errors import EngineUnavailable, KairosError
from kairos.fine_tuning.adapters.adapters import AdapterFiles, StoredAdapter
from kairos.fine_tuning.adapters.serving import AdapterServer, ServedAdapter, Serving
from kairos.http import plain_address
from kairos.llm.catalog.catalog import AdapterHost, Model
from kairos.llm.routing.llm_router import LLMRouter
from kairos.pubsub import PubSub
from kairos.tenancy import ProjectId

log = logging.getLogger(__name__)

POLL_S = 10.0
NOTIFY_WAIT_S = 5.0
"""Whoever changed something waits so long for it to be served here; a host may take minutes to load a model."""
PROMPTS = 3
"""Of those that an adapter was trained on, for a host that must see whether it changes anything."""


class NotServed(KairosError):
    """The adapter {name} cannot be asked: {problem}."""

    status, code, exit_code = 503, "adapter_not_served", 3


@dataclass(frozen=True, slots=True)
class GateModels:
    """A base and its candidate as the gate asks them."""

    base: Model
    candidate: Model
    note: str = ""
    """Said in the report where it is not the server that will serve them."""


OneOff = Callable[[Path, Sequence[Path]], AbstractAsyncContextManager[tuple[Model, Model]]]
"""A llama.cpp of its own for as long as it lasts: from weights and one adapter the plain base and the adapted one."""


class AdapterDeployments:
    """One in each daemon."""

    def __init__(
        self,
        database: Database,
        pubsub: PubSub,
        router: LLMRouter,
        files: AdapterFiles,
        servers: Mapping[AdapterHost | None, AdapterServer],
        settings: FineTuningSettings,
        one_off: OneOff,
    ) -> None:
        self._database = database
        self._pubsub = pubsub
        self._router = router
        self._files = files
        self._servers = servers
        self._settings = settings
        self._one_off = one_off
        self._refresh_lock = asyncio.Lock()
        self._refreshes: set[asyncio.Task[None]] = set()
        self._candidates: dict[UUID, ServedAdapter] = {}
        """Served for the gate, and not yet for anybody else."""
        self._statuses: dict[UUID, Serving | str] = {}
        self._aliases: dict[tuple[ProjectId, str], UUID] = {}
        """What other tools get at the hosts, as far as this daemon moved it."""
        self._problems: dict[UUID, str] = {}
        self._verified: dict[str, tuple[int, int]] = {}
        """Files whose hash was found right, with their size and time of change."""

    async def run(self) -> None:
        """Owned by the daemon; ends with its cancellation."""
        try:
            await run_together(self._poll(), self._listen())
        finally:
            await end(*self._refreshes)

    def problem(self, adapter_id: UUID) -> str | None:
        """Why an adapter in service is not served by this daemon; None where it is."""
        status = self._statuses.get(adapter_id)
        if status is None:
            return "this daemon has not looked at it yet"
        return status if isinstance(status, str) else status.problem

    async def notify(self) -> None:
        """Something changed: here at once, in the other replicas by a notice, or by their own look if it is lost."""
        with suppress(EngineUnavailable):
            await self._pubsub.publish(redis_keys.adapters_channel(), b"")
        task = asyncio.create_task(self._refresh_if_possible(), name="looking at adapters")
        self._refreshes.add(task)
        task.add_done_callback(self._refreshes.discard)
        await asyncio.wait([task], timeout=NOTIFY_WAIT_S)

    async def remove(self, row: AdapterRow) -> None:
        """What its host keeps of one that is deleted; its files are still there. A host that is away keeps it."""
        served = await self._served(row)
        if isinstance(served, ServedAdapter) and (server := self._servers.get(served.base.adapter_host)):
            try:
                await server.remove(served)
            except KairosError as error:
                log.warning("the deleted adapter %s v%d stays at its host: %s", row.base, row.version, error)

    async def refresh(self) -> None:
        """Serve what the database says, and hand it to the router. Raises `EngineUnavailable`."""
        async with self._refresh_lock:
            rows = await self._rows()
            statuses: dict[UUID, Serving | str] = {}
            wanted: list[ServedAdapter] = list(self._candidates.values())
            for row in rows:
                served = await self._served(row)
                if isinstance(served, str):
                    statuses[row.id] = served
                else:
                    wanted.append(served)
            statuses |= {serving.adapter.id: serving for serving in await self._serve(wanted)}
            self._statuses = statuses
            await self._move_aliases({row.id for row in rows if row.state == AdapterState.LIVE})
            self._log_problems(rows)
            self._router.replace_adapters([model for row in rows if (model := self._model(row))])

    async def erase(self, project_id: ProjectId) -> None:
        """Everything of a project's adapters and runs but their rows: at the hosts, and on the disk."""
        async with self._database.project(project_id) as session:
            rows = await adapters.page(session)
        for row in rows:
            await self.remove(row)
        await asyncio.to_thread(self._files.delete_project, project_id)

    @asynccontextmanager
    async def gate_models(self, row: AdapterRow) -> AsyncIterator[GateModels]:
        """Base and candidate where they will be served; on a llama.cpp of our own where that host is away.

        Raises `NotServed`, `AdapterMissing`, `AdapterCorrupt`.
        """
        base = self._router.catalog.get(row.base)
        served = await self._served(row)
        if base is None or isinstance(served, str):
            raise NotServed(name=f"{row.base} v{row.version}", problem=served if isinstance(served, str) else "no base")
        self._candidates[row.id] = served
        try:
            await self.refresh()
            serving = self._statuses.get(row.id)
            if isinstance(serving, Serving) and serving.model:
                yield GateModels(base, serving.model)
                return
            problem = self.problem(row.id) or ""
            weights = _gguf(base)
            if weights is None:
                raise NotServed(name=f"{row.base} v{row.version}", problem=problem)
            async with self._one_off(weights, [served.file]) as (plain, adapted):
                address = plain_address(base.base_url)
                note = f"on llama.cpp with the base's own file, as {address} could not be asked: {problem}"
                yield GateModels(plain, adapted, note)
        finally:
            self._candidates.pop(row.id, None)

    async def _poll(self) -> None:
        while True:
            await self._refresh_if_possible()
            await asyncio.sleep(POLL_S * random.uniform(0.8, 1.2))

    async def _listen(self) -> None:
        async for _ in self._pubsub.listen([redis_keys.adapters_channel()]):
            await self._refresh_if_possible()

    async def _refresh_if_possible(self) -> None:
        try:
            await self.refresh()
        except EngineUnavailable as error:
            log.warning("adapters stay as they are for now: %s", error)
        except Exception:  # one that cannot be served must not end the daemon; it is tried again
            log.exception("adapters could not be looked at")

    async def _rows(self) -> list[AdapterRow]:
        async with self._database.system() as connection:
            projects = await adapters.projects(connection)
        rows: list[AdapterRow] = []
        for project_id in projects:
            async with self._database.project(project_id) as session:
                rows += await adapters.in_service(session)
        return rows

    async def _served(self, row: AdapterRow) -> ServedAdapter | str:
        """What its host must know, or why there is nothing to serve."""
        base = self._router.catalog.get(row.base)
        if base is None:
            return f"its base {row.base} is not in the catalogue of this daemon"
        if base.adapter_host is None:
            return f"nothing serves adapters of {row.base}: its entry in kairos.toml has no `adapters`"
        try:
            file = await asyncio.to_thread(self._file, StoredAdapter(row.path, row.sha256, row.bytes))
        except KairosError as error:
            return str(error)
        async with self._database.project(ProjectId(row.project_id)) as session:
            prompts = await adapters.trained_prompts(session, row.id, PROMPTS)
        asked = tuple(str(messages[-1].get("content", "")) for messages in prompts if messages)
        return ServedAdapter(row.id, ProjectId(row.project_id), base, row.version, file, row.sha256, asked)

    def _file(self, stored: StoredAdapter) -> Path:
        """Its hash is computed again only where the file is not the one that was looked at."""
        path = self._files.path(stored)
        seen = self._verified.get(stored.path)
        if seen is None or not path.exists() or _stat(path) != seen:
            path = self._files.file(stored)
            self._verified[stored.path] = _stat(path)
        return path

    async def _serve(self, wanted: Sequence[ServedAdapter]) -> list[Serving]:
        servings: list[Serving] = []
        for host, server in self._servers.items():
            servings += await server.serve([one for one in wanted if one.base.adapter_host is host])
        unserved = [one for one in wanted if one.base.adapter_host not in self._servers]
        return servings + [Serving(one, None, "this daemon has no server for adapters of its base") for one in unserved]

    async def _move_aliases(self, live: set[UUID]) -> None:
        """Other tools that ask a host for the project's model of a base get what is live. A host that is away is told
        at a later look."""
        served = [s.adapter for s in self._statuses.values() if isinstance(s, Serving) and s.model]
        wanted = {(one.project_id, one.base.name): one for one in served if one.id in live}
        for key, adapter in wanted.items():
            if self._aliases.get(key) != adapter.id and (server := self._servers.get(adapter.base.adapter_host)):
                with suppress(KairosError):
                    await server.promote(adapter)
                    self._aliases[key] = adapter.id
        for project_id, name in self._aliases.keys() - wanted.keys():
            base = self._router.catalog.get(name)
            if base and (server := self._servers.get(base.adapter_host)):
                with suppress(KairosError):
                    await server.demote(project_id, base)
                    del self._aliases[project_id, name]

    def _model(self, row: AdapterRow) -> Model | None:
        status = self._statuses.get(row.id)
        if not isinstance(status, Serving) or status.model is None:
            return None
        share = self._settings.canary_share if row.state == AdapterState.CANARY else 1.0
        return replace(status.model, adapter_id=row.id, share=share)

    def _log_problems(self, rows: Sequence[AdapterRow]) -> None:
        """A problem once, and not at every look."""
        problems = {row.id: problem for row in rows if (problem := self.problem(row.id))}
        for row in rows:
            if (problem := problems.get(row.id)) and problem != self._problems.get(row.id):
                log.warning("the adapter %s v%d is not served: %s", row.base, row.version, problem)
        self._problems = problems


def _gguf(base: Model) -> Path | None:
    """The file that a llama.cpp of our own could load in place of the base's host; None where there is none."""
    if base.weights is None or base.adapter_host is AdapterHost.EMBEDDED:
        return None
    return path if (path := Path(base.weights)).is_file() else None


def _stat(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_size, about.st_mtime_ns
