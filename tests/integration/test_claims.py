"""The fenced claim under every order of events: each claim ends at most once, and every task has a valid state."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import select, text

from kairos.config import Settings
from kairos.db.addresses import DatabaseAddresses
from kairos.db.engine import Database
from kairos.db.models import TaskRow, TaskState
from kairos.db.repositories.access import people
from kairos.db.repositories.tasks import tasks
from kairos.embedded import Addresses
from kairos.tenancy import ProjectId, Scope, UserId, new_id

LEASE = timedelta(hours=1)
ENDS = (TaskState.SUCCEEDED, TaskState.REJECTED, TaskState.FAILED, TaskState.QUEUED)
ERROR = {"code": "lease_expired", "message": "gone"}


class Claims(RuleBasedStateMachine):
    """Workers claim, renew and conclude tasks, leases expire, and people cancel and retry, in any order."""

    addresses: Addresses
    task_ids = Bundle("tasks")
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        at = DatabaseAddresses(self.addresses.database_url, self.addresses.migration_url, self.addresses.system_url)
        self.database = Database(at, Settings().database)
        self.project_id, self.user_id = ProjectId(new_id()), UserId(new_id())
        self.holder: dict[UUID, int | None] = {}
        """Epoch of the claim that holds each task; None if no claim does."""
        self.run(self._make_project())

    def run(self, work):
        return self.loop.run_until_complete(work)

    async def _make_project(self) -> None:
        async with self.database.scope(Scope(self.project_id, self.user_id, operator=True)) as session:
            await people.add_user(session, self.user_id, f"{self.user_id}@test", "T", operator=False)
            await people.add_project(session, self.project_id, "P", self.user_id)

    async def _call(self, function, *arguments):
        async with self.database.project(self.project_id) as session:
            return await function(session, *arguments)

    async def _row(self, task_id: UUID) -> TaskRow:
        row = await self._call(tasks.get, task_id)
        assert row is not None
        return row

    async def _rows(self) -> dict[UUID, TaskRow]:
        async with self.database.project(self.project_id) as session:
            return {row.id: row for row in await session.scalars(select(TaskRow))}

    @rule(target=task_ids)
    def submit(self) -> UUID:
        new = TaskRow(
            project_id=self.project_id, id=new_id(), prompt="x", agent="a", lane="batch", timeout_s=1, max_attempts=3
        )
        self.run(self._call(tasks.add, new))
        self.holder[new.id] = None
        return new.id

    @rule(target=claims, task_id=task_ids)
    def claim(self, task_id: UUID) -> tuple[UUID, int]:
        """Claim a task. Only a queued task can be claimed, and its new epoch invalidates every earlier claim."""
        before = self.run(self._row(task_id))
        row = self.run(self._call(tasks.claim, task_id, "worker", LEASE))
        assert (row is not None) == (before.state == TaskState.QUEUED)
        if row is None:
            return task_id, -1
        assert row.epoch == before.epoch + 1
        self.holder[task_id] = row.epoch
        return task_id, row.epoch

    @rule(claim=claims)
    def renew(self, claim: tuple[UUID, int]) -> None:
        renewed = self.run(self._call(tasks.renew, [claim], LEASE))
        assert bool(renewed) == (self.holder[claim[0]] == claim[1])

    @rule(claim=claims, state=st.sampled_from(ENDS))
    def conclude(self, claim: tuple[UUID, int], state: TaskState) -> None:
        """Conclude a task. It is accepted once, only from the claim that holds the task."""
        task_id, epoch = claim
        cancel_requested = self.run(self._row(task_id)).cancel_requested
        written = self.run(self._call(tasks.conclude, task_id, epoch, tasks.Conclusion(state, None)))
        assert (written is not None) == (self.holder[task_id] == epoch)
        if written:
            self.holder[task_id] = None
            repeated = state is TaskState.QUEUED and cancel_requested
            assert written == self.run(self._row(task_id)).state == (TaskState.CANCELLED if repeated else state)

    @rule(task_id=task_ids)
    def lease_runs_out(self, task_id: UUID) -> None:
        epoch = self.holder[task_id]
        if epoch is None:
            return
        self.run(self._age(task_id))
        row = self.run(self._call(tasks.expire, task_id, epoch, ERROR))
        assert row is not None
        assert row.state in (TaskState.QUEUED, TaskState.DEAD, TaskState.CANCELLED)
        assert (row.state == TaskState.DEAD) == (row.attempts >= row.max_attempts and not row.cancel_requested)
        self.holder[task_id] = None

    async def _age(self, task_id: UUID) -> None:
        async with self.database.project(self.project_id) as session:
            await session.execute(
                text("update tasks set lease_until = now() - interval '1 s' where id = :id"), {"id": task_id}
            )

    @rule(claim=claims)
    def a_live_lease_does_not_expire(self, claim: tuple[UUID, int]) -> None:
        assert self.run(self._call(tasks.expire, *claim, ERROR)) is None

    @rule(task_id=task_ids)
    def cancel(self, task_id: UUID) -> None:
        before = self.run(self._row(task_id))
        row = self.run(self._call(tasks.request_cancel, task_id))
        assert (row is None) == TaskState(before.state).final
        if row is not None:
            assert row.state == (TaskState.CANCELLED if before.state == TaskState.QUEUED else TaskState.RUNNING)

    @rule(task_id=task_ids)
    def retry(self, task_id: UUID) -> None:
        before = self.run(self._row(task_id))
        row = self.run(self._call(tasks.retry, task_id))
        assert (row is not None) == TaskState(before.state).final

    @invariant()
    def a_task_runs_exactly_when_somebody_holds_it(self) -> None:
        rows = self.run(self._rows()) if self.holder else {}
        assert rows.keys() == self.holder.keys()
        for task_id, epoch in self.holder.items():
            row = rows[task_id]
            assert (row.state == TaskState.RUNNING) == (epoch is not None)
            assert (row.owner is not None) == (row.lease_until is not None) == (epoch is not None)
            assert TaskState(row.state).final == (row.finished_at is not None)

    def teardown(self) -> None:
        self.run(self.database.close())
        self.loop.close()


@pytest.mark.timeout(120)
async def test_claims_under_every_order_of_events(addresses: Addresses):
    Claims.addresses = addresses
    chosen = settings(
        max_examples=30,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        phases=[Phase.generate],  # shrinking would take minutes on a real database
    )
    await asyncio.to_thread(run_state_machine_as_test, Claims, settings=chosen)
