"""Random histories of the queue compared with a model, including the loss of any key or of everything.

No task is lost or in two places, no cap is exceeded, and no project with work and room is out of turn. The model stands
for PostgreSQL: after a loss, a sweep from the model alone must repair everything.
"""

import asyncio
import re
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kairos import redis_keys
from kairos.lanes import Lane
from kairos.orchestration.queue.queue import LUA, Depth, FairQueue, QueueEntry, TakenTask
from kairos.redis_client import connect
from kairos.tenancy import ProjectId, TaskId
from tests.kit.valkey import delete_namespace

LANE = Lane.BATCH
PROJECTS = [ProjectId(UUID(int=i)) for i in range(1, 5)]
HOUR = 3600.0
TURN, VT, LAST, CAP, WEIGHT, BELL, DUE, SET, WAIT, RUN, LATER, ORDER = range(12)

Places = dict[ProjectId, list[set[TaskId]]]
"""The waiting, running and delayed tasks of each project."""

projects = st.sampled_from(PROJECTS)
picks = st.integers(0, 10**6)
QUEUE_PARTS = re.findall(r"lane \.\. '(.*?)'", LUA)
"""Keys of the lane, then prefixes that a project's id completes."""


class QueueMachine(RuleBasedStateMachine):
    url: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.client: Any = connect(self.url)
        self.namespace = f"test-{uuid4().hex[:12]}"
        self.queue = FairQueue(self.client, namespace=self.namespace)
        self.keys = [redis_keys.queue_lane(LANE, self.namespace) + part for part in QUEUE_PARTS]
        self.waiting: dict[TaskId, tuple[ProjectId, QueueEntry]] = {}
        self.delayed: dict[TaskId, tuple[ProjectId, QueueEntry]] = {}
        self.running: dict[TaskId, ProjectId] = {}
        self.caps: dict[ProjectId, int] = {}
        self.made = 0
        self.damaged = False  # data is lost, and no sweep has run since

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    # Calls

    @initialize()
    def start(self) -> None:
        self.do(self.queue.start_generation())

    @rule(project=projects, priority=st.integers(-2, 2), order=st.integers(0, 3), delayed=st.booleans())
    def put(self, project: ProjectId, priority: int, order: int, delayed: bool) -> None:
        self.made += 1
        entry = QueueEntry(TaskId(UUID(int=self.made)), order, priority, HOUR if delayed else 0)
        (self.delayed if delayed else self.waiting)[entry.task_id] = (project, entry)
        self.do(self.queue.put_many(LANE, project, [entry]))

    @rule(pick=picks, delayed=st.booleans())
    def put_again(self, pick: int, delayed: bool) -> None:
        """Put an existing task again. A delayed task becomes due; any other stays as it is."""
        owners = {task: owner for task, (owner, _) in (self.waiting | self.delayed).items()} | self.running
        if not owners or self.damaged:
            return
        task = _pick(owners, pick)
        entry = QueueEntry(task, 2, 0, HOUR if delayed else 0)
        self.do(self.queue.put_many(LANE, owners[task], [entry]))
        if task in self.delayed and not delayed:
            del self.delayed[task]
            self.waiting[task] = (owners[task], entry)

    @rule(k=st.integers(1, 4))
    def take(self, k: int) -> None:
        due = self.do(self._due(self.do(self._places())))
        for taken in self.do(self.queue.take(LANE, k)):
            self._claim(taken, due)

    def _claim(self, taken: TakenTask, due: set[TaskId]) -> None:
        """Claim a task as PostgreSQL would: only a queued task may start."""
        task, project = taken.task_id, taken.project_id
        if self.damaged and task in self.running:
            return  # refused; the sweep corrects the count
        source = self.waiting if task in self.waiting else self.delayed
        owner, entry = source.pop(task)
        assert owner == project
        assert self.damaged or source is self.waiting or task in due, "returned before it was due"
        self.running[task] = project
        if not self.damaged:
            assert self._count(project) <= self.caps.get(project, 10**9), "cap exceeded"
            better = [e for t, (p, e) in self.waiting.items() if p == project and _rank(e) < _rank(entry)]
            assert not better or task in due, "a task of lower rank was returned first"

    @precondition(lambda self: self.running)
    @rule(pick=picks, twice=st.booleans())
    def done(self, pick: int, twice: bool) -> None:
        task = _pick(self.running, pick)
        project = self.running.pop(task)
        assert self.do(self.queue.done(LANE, project, task)) or self.damaged
        if twice:
            assert not self.do(self.queue.done(LANE, project, task))

    @rule(pick=picks)
    def remove(self, pick: int) -> None:
        if not (known := self.waiting | self.delayed):
            return
        task = _pick(known, pick)
        self.waiting.pop(task, None)
        self.delayed.pop(task, None)
        self.do(self.queue.remove(LANE, known[task][0], task))

    @rule(project=projects, cap=st.none() | st.integers(0, 4))
    def cap(self, project: ProjectId, cap: int | None) -> None:
        self.caps.pop(project, None)
        if cap is not None:
            self.caps[project] = cap
        self.do(self.queue.set_cap(LANE, project, cap))

    @rule(project=projects, weight=st.sampled_from([0, 0.01, 0.5, 1, 7]))
    def weight(self, project: ProjectId, weight: float) -> None:
        self.do(self.queue.set_weight(LANE, project, weight))

    # Time and faults

    @rule(project=projects)
    def an_hour_passes(self, project: ProjectId) -> None:
        """Make the delayed tasks of a project due, before any call promotes them."""
        self.do(self._rewind(project))

    @rule(key=st.sampled_from(range(12)), project=projects)
    def lose_a_key(self, key: int, project: ProjectId) -> None:
        name = self.keys[key] + (str(project) if key >= WAIT else "")
        if self.do(self.client.delete(name)) and key not in (BELL, VT, LAST, WEIGHT):
            self.damaged = True

    @rule()
    def lose_everything(self) -> None:
        self.do(delete_namespace(self.client, self.namespace))
        self.damaged = True

    @precondition(lambda self: self.damaged)
    @rule()
    def sweep(self) -> None:
        self.do(self._sweep())
        self.damaged = False

    async def _sweep(self) -> None:
        """Repair the queue from rows as the sweeper does: running and queued tasks, caps, and runs without a row."""
        full = await self.queue.generation() is None
        for project in PROJECTS:
            await self.queue.adopt(LANE, project, [t for t, p in self.running.items() if p == project])
            queued = {t: e for t, (p, e) in (self.waiting | self.delayed).items() if p == project}
            gone = list(queued) if full else await self.queue.missing(LANE, project, queued)
            await self.queue.put_many(LANE, project, [queued[task] for task in gone])
            await self.queue.set_cap(LANE, project, self.caps.get(project))
        for run in await self.queue.stale_runs(LANE, -1):
            if run.task_id not in self.running:
                await self.queue.done(LANE, run.project_id, run.task_id)
            assert run.task_id not in self.waiting, "queued in PostgreSQL and running in Redis"
        if full:
            await self.queue.start_generation()

    # Invariants

    @invariant()
    def invariants_hold(self) -> None:
        self.do(self._check_invariants())

    async def _check_invariants(self) -> None:
        """Check the invariants, in few round trips, as this runs after every step."""
        places = await self._places()
        self._check_no_task_is_in_two_places(places)
        if not self.damaged:
            await self._check_no_task_is_lost(places)
            await self._check_projects_with_work_and_room_are_in_turn(places)
        assert await self.client.llen(self.keys[BELL]) <= 64, "the bell is too long"

    def teardown(self) -> None:
        try:
            self.do(self._drain())
        finally:
            self.do(delete_namespace(self.client, self.namespace))
            self.do(self.client.aclose())
            self.runner.close()

    async def _drain(self) -> None:
        """Check that in the end every queued task is returned exactly once."""
        await self._sweep()
        for project in PROJECTS:
            await self._rewind(project)
            await self.queue.set_cap(LANE, project, None)
        left = sorted(self.waiting | self.delayed)
        assert sorted([taken.task_id for taken in await self.queue.take(LANE, len(left) + 9)]) == left
        for run in await self.queue.stale_runs(LANE, -1):
            await self.queue.done(LANE, run.project_id, run.task_id)
        stem = redis_keys.queue_lane(LANE, self.namespace)
        parts = {name.decode().removeprefix(stem) async for name in self.client.scan_iter(f"{stem}*")}
        assert parts <= {"vt", "last", "cap", "weight", "generation"}, "keys are left over"

    def _check_no_task_is_in_two_places(self, places: Places) -> None:
        for project, sets in places.items():
            assert len(set().union(*sets)) == sum(map(len, sets)), project

    async def _check_no_task_is_lost(self, places: Places) -> None:
        due, depths = await self._due(places), {}
        for project, (waits, runs, later) in places.items():
            assert runs == {t for t, p in self.running.items() if p == project}
            assert waits - due == {t for t, (p, _) in self.waiting.items() if p == project} - due
            assert waits | later == {t for t, (p, _) in (self.waiting | self.delayed).items() if p == project}
            if waits or runs or later:
                depths[project] = Depth(len(waits), len(runs), len(later))
        assert await self.queue.depth(LANE) == depths

    async def _check_projects_with_work_and_room_are_in_turn(self, places: Places) -> None:
        turn = {ProjectId(UUID(p.decode())) for p in await self.client.zrange(self.keys[TURN], 0, -1)}
        expected = {p for p in PROJECTS if places[p][0] and self._count(p) < self.caps.get(p, 10**9)}
        assert turn == expected
        async with self.client.pipeline(transaction=False) as both:
            for project in PROJECTS:  # the time of the first delayed task is stored
                both.zrange(self.keys[LATER] + str(project), 0, 0, withscores=True)
                both.zscore(self.keys[DUE], str(project))
            answers = await both.execute()
        for first, due in zip(answers[::2], answers[1::2], strict=True):
            assert due == (first[0][1] if first else None)

    async def _places(self) -> Places:
        async with self.client.pipeline(transaction=False) as all_sets:
            for project in PROJECTS:
                for stem in (WAIT, RUN, LATER):
                    all_sets.zrange(self.keys[stem] + str(project), 0, -1)
            found = [{TaskId(UUID(t.decode())) for t in tasks} for tasks in await all_sets.execute()]
        return {project: found[3 * i : 3 * i + 3] for i, project in enumerate(PROJECTS)}

    async def _due(self, places: Places) -> set[TaskId]:
        """Return the delayed tasks that are due: promoted, or to be promoted by the next call."""
        waits = set().union(*[waiting for waiting, _, _ in places.values()])
        async with self.client.pipeline(transaction=False) as all_later:
            for project in PROJECTS:
                all_later.zrangebyscore(self.keys[LATER] + str(project), 0, 0)
            later = await all_later.execute()
        return (waits & set(self.delayed)) | {TaskId(UUID(t.decode())) for tasks in later for t in tasks}

    async def _rewind(self, project: ProjectId) -> None:
        later = self.keys[LATER] + str(project)
        if tasks := await self.client.zrange(later, 0, -1):
            await self.client.zadd(later, dict.fromkeys(tasks, 0))
            await self.client.zadd(self.keys[DUE], {str(project): 0}, xx=True)

    def _count(self, project: ProjectId) -> int:
        return sum(owner == project for owner in self.running.values())


SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def _rank(entry: QueueEntry) -> tuple[int, float]:
    return -entry.priority, entry.order


def _pick(of: dict[TaskId, Any], pick: int) -> TaskId:
    return sorted(of)[pick % len(of)]


@pytest.mark.timeout(240)
def test_invariants_hold_in_any_history(valkey_url: str) -> None:
    machine: Callable[[], QueueMachine] = type("Machine", (QueueMachine,), {"url": valkey_url})
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=80, stateful_step_count=50, deadline=None, suppress_health_check=SLOW),
    )
