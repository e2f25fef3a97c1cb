"""A Kairos application in the test's process: real engines, a scripted model server, the daemon's own assembly."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import update

from kairos.agents.base import TaskSpec
from kairos.agents.checks.registry import CHECKS
from kairos.agents.checks.requested import RequestedChecks
from kairos.api.access.first_account import FIRST_ADMIN
from kairos.assembly import Components, assemble
from kairos.background_tasks import end
from kairos.config import ModelSettings, QueueSettings, Settings
from kairos.db.models import SampleRow, TaskEventRow, TaskRow, TaskState, VerdictRow
from kairos.db.repositories.tasks import history, tasks
from kairos.embedded import Addresses
from kairos.orchestration.queue.claim import NewTask
from kairos.tenancy import ProjectId, UserId
from tests.kit.conditions import eventually
from tests.kit.model_server import ModelServer
from tests.kit.people import new_project_in

QUICK = QueueSettings(lease_s=3, sweep_s=0.3, drain_s=3, retry_base_s=0.1)
"""Short times, so that tests of leases and retries take seconds and not minutes."""


class KairosApp:
    """A Kairos application with one project, through which tests submit tasks and read their results."""

    def __init__(self, parts: Components, models: ModelServer, project_id: ProjectId, user_id: UserId) -> None:
        self.parts = parts
        self.models = models
        self.project_id = project_id
        self.user_id = user_id

    @property
    def database(self):
        return self.parts.storage.database

    async def submit(self, prompt: str = "say hello", **options: Any) -> UUID:
        """Submit a task and return its id. `require=`, `forbid=`, `tests=`, `schema=` and `format=` are its checks."""
        checks = RequestedChecks(**{name: options.pop(name) for name in list(options) if name in CHECKS})
        spec = {name: options.pop(name) for name in list(options) if name in TaskSpec.model_fields}
        agent = options.pop("agent", "ExecutionAgent")
        new = NewTask(prompt=prompt, agent=agent, spec=TaskSpec(**spec, checks=checks), **options)
        row, _ = await self.parts.orchestration.submissions.submit(self.project_id, self.user_id, new)
        return row.id

    async def task(self, task_id: UUID) -> TaskRow:
        async with self.database.project(self.project_id) as session:
            row = await tasks.get(session, task_id)
        assert row is not None, f"no task {task_id}"
        return row

    async def in_state(self, task_id: UUID, *states: TaskState, within_s: float = 20) -> TaskRow:
        """Wait until the task is in one of these states."""

        async def reached() -> TaskRow | None:
            row = await self.task(task_id)
            return row if row.state in states else None

        return await eventually(reached, within_s, f"task {task_id} in {[str(s) for s in states]}")

    async def finished(self, task_id: UUID, within_s: float = 20) -> TaskRow:
        """Wait until the task has ended."""
        return await self.in_state(task_id, *[s for s in TaskState if s.final], within_s=within_s)

    async def events(self, task_id: UUID) -> list[TaskEventRow]:
        async with self.database.project(self.project_id) as session:
            return await history.events(session, task_id)

    async def verdicts(self, task_id: UUID) -> list[VerdictRow]:
        async with self.database.project(self.project_id) as session:
            return await history.verdicts(session, task_id)

    async def decisions(self, task_id: UUID):
        async with self.database.project(self.project_id) as session:
            return await history.decisions(session, task_id)

    async def samples(self, task_id: UUID) -> list[SampleRow]:
        async with self.database.project(self.project_id) as session:
            return await history.samples(session, task_id)

    async def cancel(self, task_id: UUID) -> TaskRow:
        return await self.parts.orchestration.submissions.cancel(self.project_id, task_id)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[asyncio.Event]:
        """Run everything that a daemon runs except its API. Setting the yielded event drains the worker."""
        draining = asyncio.Event()
        worker = asyncio.create_task(self.parts.orchestration.worker.run(draining, asyncio.Event()))
        works = [self.parts.orchestration.sweeper.run, *self.parts.background]
        background = [asyncio.create_task(work()) for work in works]
        try:
            yield draining
        finally:
            draining.set()
            await asyncio.wait_for(worker, 30)
            await end(*background)


@asynccontextmanager
async def open_app(addresses: Addresses, server: ModelServer, /, **settings: Any) -> AsyncIterator[KairosApp]:
    """Open an application on these engines with a new project. Its catalogue contains the models of the server."""
    async with AsyncExitStack() as stack:
        entries = [
            ModelSettings(name=name, base_url=server.base_url, local=True, context=8192) for name in server.models
        ]
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        chosen = Settings(**{"queue": QUICK, "models": entries, "data_dir": folder, **settings})
        parts = await stack.enter_async_context(assemble(chosen, addresses))
        project_id, user_id = await new_project(parts)
        app = KairosApp(parts, server, project_id, user_id)
        yield app
        await cancel_unfinished_tasks(parts, project_id, app.project_id)


async def cancel_unfinished_tasks(parts: Components, *projects: ProjectId) -> None:
    """Cancel all unfinished tasks. The engines are shared: the worker of the next test would run them."""
    for project_id in set(projects):
        async with parts.storage.database.project(project_id) as session:
            live = TaskRow.state.in_((TaskState.QUEUED, TaskState.RUNNING))
            await session.execute(update(TaskRow).where(live).values(state=TaskState.CANCELLED))


async def new_project(parts: Components, name: str = "Test") -> tuple[ProjectId, UserId]:
    """Create a project with an owner."""
    return await new_project_in(parts.storage.database, name)


__all__ = ["FIRST_ADMIN", "KairosApp", "new_project", "open_app"]
