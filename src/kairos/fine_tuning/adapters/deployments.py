"""The adapters deployed in this daemon: read from the database, served by their hosts, offered to the router.

Every replica refreshes its deployments at start, on a notification by another replica, and every few seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from kairos import redis_keys
from kairos.background_tasks import end
from kairos.config import FineTuningSettings
from kairos.db.engine import Database
from kairos.db.models import AdapterRow, AdapterState
from kairos.db.repositories import adapters
from kairos.errors import EngineUnavailable, KairosError
from kairos.fine_tuning.adapters.adapters import AdapterFiles, StoredAdapter
from kairos.fine_tuning.adapters.llama_cpp import LoadedModels
from kairos.fine_tuning.adapters.model_copies import ModelCopies
from kairos.fine_tuning.adapters.serving import AdapterServer, ServedAdapter, Serving
from kairos.http import plain_address
from kairos.llm.catalog.catalog import AdapterHost, Model, ModelOrigin
from kairos.llm.routing.llm_router import LLMRouter
from kairos.pubsub import PubSub
from kairos.tenancy import ProjectId

log = logging.getLogger(__name__)

POLL_S = 10.0
NOTIFY_WAIT_S = 5.0
"""How long a change waits for its refresh here. A host can take minutes to load a model."""
PROMPTS = 3
"""Number of training prompts with which a host tests whether an adapter has an effect."""


class NotServed(KairosError):
    """The adapter {name} cannot be called: {problem}."""

    status, code, exit_code = 503, "adapter_not_served", 3


@dataclass(frozen=True, slots=True)
class GateModels:
    """A base and its candidate, as called by the gate."""

    base: ModelCopies
    candidate: ModelCopies
    note: str = ""
    """For the report, if another server than the deployment's is used."""


OneOff = Callable[[Path, Sequence[Path]], AbstractAsyncContextManager[LoadedModels]]
"""Context manager of temporary llama.cpp processes, for weights and adapters."""


class AdapterDeployments:
    """The deployments of one daemon."""

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
        """Served for the gate only."""
        self._statuses: dict[UUID, Serving | str] = {}
        self._aliases: dict[tuple[ProjectId, str], UUID] = {}
        """Aliases at the hosts set by this daemon, with the adapter that they name."""
        self._problems: dict[UUID, str] = {}
        self._verified: dict[str, tuple[tuple[int, int], ...]] = {}
        """Verified files, with size and modification time."""

    async def run(self) -> None:
        """Keep the deployments up to date, as a background task of the daemon until cancelled."""
        try:
            await self._pubsub.follow(redis_keys.adapters_channel(), POLL_S, self._refresh_if_possible)
        finally:
            await end(*self._refreshes)

    def problem(self, adapter_id: UUID) -> str | None:
        """Return why a deployed adapter is not served by this daemon; None if it is."""
        status = self._statuses.get(adapter_id)
        if status is None:
            return "this daemon has not checked it yet"
        return status if isinstance(status, str) else status.problem

    async def notify(self) -> None:
        """Refresh after a change, and notify the other replicas, which otherwise poll."""
        with suppress(EngineUnavailable):
            await self._pubsub.publish(redis_keys.adapters_channel(), b"")
        task = asyncio.create_task(self._refresh_if_possible(), name="refresh adapters")
        self._refreshes.add(task)
        task.add_done_callback(self._refreshes.discard)
        await asyncio.wait([task], timeout=NOTIFY_WAIT_S)

    async def remove(self, row: AdapterRow) -> None:
        """Remove a deleted adapter from its host, before its files are deleted. An unavailable host keeps it."""
        served = await self._served(row)
        if isinstance(served, ServedAdapter) and (server := self._servers.get(served.base.adapter_host)):
            try:
                await server.remove(served)
            except KairosError as error:
                log.warning("cannot remove the deleted adapter %s v%d from its host: %s", row.base, row.version, error)

    async def refresh(self) -> None:
        """Serve the adapters deployed in the database, and pass them to the router. Raises `EngineUnavailable`."""
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
            for status in statuses.values():
                if isinstance(status, Serving) and status.reloaded and status.model:
                    # Its server had lost it, and answered 404, after which a breaker stays open.
                    self._router.health.reset(status.model.name)
            await self._move_aliases({row.id for row in rows if row.state == AdapterState.LIVE})
            self._log_problems(rows)
            self._router.replace_adapters([model for row in rows if (model := self._model(row))])

    async def erase(self, project_id: ProjectId) -> None:
        """Delete a project's adapters and runs from hosts and disk, but not their rows."""
        async with self._database.project(project_id) as session:
            rows = await adapters.page(session)
        for row in rows:
            await self.remove(row)
        await asyncio.to_thread(self._files.delete_project, project_id)

    @asynccontextmanager
    async def gate_models(self, row: AdapterRow) -> AsyncIterator[GateModels]:
        """Serve base and candidate at their host, or on temporary llama.cpp processes if the host is unavailable.

        The embedded model always gets temporary ones: they are the same program, but nobody else waits for them.
        Raises `NotServed`, `AdapterMissing`, `AdapterCorrupt`, `EngineNotStarted`.
        """
        base = self._router.catalog.get(row.base)
        served = await self._served(row)
        if base is None or isinstance(served, str):
            raise NotServed(name=f"{row.base} v{row.version}", problem=served if isinstance(served, str) else "no base")
        if base.adapter_host is AdapterHost.EMBEDDED:
            assert base.weights is not None
            async with self._one_off(Path(base.weights), [served.file]) as loaded:
                yield GateModels(loaded.plain, loaded.adapted(0))
            return
        self._candidates[row.id] = served
        try:
            await self.refresh()
            serving = self._statuses.get(row.id)
            if isinstance(serving, Serving) and serving.model:
                yield GateModels(ModelCopies.only(base), ModelCopies.only(serving.model))
                return
            problem = self.problem(row.id) or ""
            weights = _gguf(base)
            if weights is None:
                raise NotServed(name=f"{row.base} v{row.version}", problem=problem)
            async with self._one_off(weights, [served.file]) as loaded:
                address = plain_address(base.base_url)
                note = f"on llama.cpp with the base's own file, as {address} does not serve the adapter: {problem}"
                yield GateModels(loaded.plain, loaded.adapted(0), note)
        finally:
            self._candidates.pop(row.id, None)

    async def _refresh_if_possible(self, _: object = None) -> None:
        try:
            await self.refresh()
        except EngineUnavailable as error:
            log.warning("cannot refresh the adapters for now: %s", error)
        except Exception:  # must not end the daemon; it is retried
            log.exception("refreshing the adapters failed")

    async def _rows(self) -> list[AdapterRow]:
        async with self._database.system() as connection:
            projects = await adapters.projects(connection)
        rows: list[AdapterRow] = []
        for project_id in projects:
            async with self._database.project(project_id) as session:
                rows += await adapters.in_service(session)
        return rows

    async def _served(self, row: AdapterRow) -> ServedAdapter | str:
        """Return the adapter for its host, or the reason why it cannot be served."""
        base = self._router.catalog.get(row.base)
        if base is None:
            return f"its base {row.base} is not in the catalogue of this daemon"
        if base.adapter_host is None:
            return f"no host serves adapters of {row.base}: its entry in kairos.toml has no `adapters`"
        try:
            stored, hashes = StoredAdapter(row.path, row.sha256, row.bytes), _peft_hashes(row, base)
            file = await asyncio.to_thread(self._file, stored, hashes)
        except KairosError as error:
            return str(error)
        async with self._database.project(ProjectId(row.project_id)) as session:
            prompts = await adapters.trained_prompts(session, row.id, PROMPTS)
        texts = tuple(str(messages[-1].get("content", "")) for messages in prompts if messages)
        return ServedAdapter(row.id, ProjectId(row.project_id), base, row.version, file, row.sha256, texts, row.path)

    def _file(self, stored: StoredAdapter, hashes: Mapping[str, str]) -> Path:
        """Return the GGUF file, verified by hash like the files of `hashes`. The hashes are computed again only if a
        file has changed."""
        path = self._files.path(stored)
        files = (path, *(path.parent / name for name in hashes))
        if not all(file.exists() for file in files) or _stats(files) != self._verified.get(stored.path):
            self._files.file(stored)
            self._files.check(stored, hashes)
            self._verified[stored.path] = _stats(files)
        return path

    async def _serve(self, wanted: Sequence[ServedAdapter]) -> list[Serving]:
        servings: list[Serving] = []
        for host, server in self._servers.items():
            servings += await server.serve([one for one in wanted if one.base.adapter_host is host])
        unserved = [one for one in wanted if one.base.adapter_host not in self._servers]
        return servings + [Serving(one, None, "this daemon has no host for adapters of its base") for one in unserved]

    async def _move_aliases(self, live: set[UUID]) -> None:
        """Point the aliases for other tools to the live adapters. An unavailable host is updated by a later refresh."""
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
        return replace(status.model, adapter_id=row.id, share=share, origin=ModelOrigin.ADAPTER)

    def _log_problems(self, rows: Sequence[AdapterRow]) -> None:
        """Log each problem once."""
        problems = {row.id: problem for row in rows if (problem := self.problem(row.id))}
        for row in rows:
            if (problem := problems.get(row.id)) and problem != self._problems.get(row.id):
                log.warning("the adapter %s v%d is not served: %s", row.base, row.version, problem)
        self._problems = problems


def _gguf(base: Model) -> Path | None:
    """Return the file that a temporary llama.cpp can load instead of the base's host, or None."""
    return path if base.weights and (path := Path(base.weights)).is_file() else None


def _peft_hashes(row: AdapterRow, base: Model) -> Mapping[str, str]:
    """Return the hashes of the files that vLLM loads instead of the GGUF file.

    Adapters trained before these hashes were recorded have none.
    """
    return (row.manifest or {}).get("files", {}) if base.adapter_host is AdapterHost.VLLM else {}


def _stats(files: Sequence[Path]) -> tuple[tuple[int, int], ...]:
    return tuple((about.st_size, about.st_mtime_ns) for about in (file.stat() for file in files))
