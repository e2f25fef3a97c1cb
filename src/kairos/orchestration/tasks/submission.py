"""Submits, cancels and retries tasks. PostgreSQL is written first; the sweeper repairs the queue in Redis."""

from __future__ import annotations

import logging
from datetime import datetime
from uuid import UUID

from kairos.config import QueueSettings
from kairos.db.engine import Database, Session
from kairos.db.models import EventKind, TaskRow, TaskState
from kairos.db.repositories.projects import projects
from kairos.db.repositories.tasks import history, tasks
from kairos.errors import Conflict, EngineUnavailable, KairosError, NotFound
from kairos.lanes import Lane
from kairos.orchestration.configuration.project_limits import ProjectLimits
from kairos.orchestration.queue.claim import NewTask
from kairos.orchestration.queue.event_notices import EventNotices
from kairos.orchestration.queue.queue import FairQueue
from kairos.pubsub import PubSub
from kairos.tenancy import ProjectId, TaskId, UserId, new_id

log = logging.getLogger(__name__)


class ProjectArchived(KairosError):
    """The project is archived and takes no tasks. Restore it first: POST /api/projects/{id}/restore, or
    `kairos project restore`."""

    status, code, exit_code = 409, "project_archived", 5


class Submissions:
    """Operations on tasks for the API and the CLI."""

    def __init__(
        self, database: Database, queue: FairQueue, pubsub: PubSub, notices: EventNotices, settings: QueueSettings
    ) -> None:
        self._database = database
        self._queue = queue
        self._pubsub = pubsub
        self._notices = notices
        self._settings = settings
        self._limits = ProjectLimits(database, queue, settings)

    async def submit(
        self, project_id: ProjectId, user_id: UserId | None, new: NewTask, task_id: UUID | None = None
    ) -> tuple[TaskRow, bool]:
        """Commit a task as queued and add it to the queue. Returns the row, and True if it is new.

        Pass `task_id` if the id must be known before a worker can claim the task. Raises `Conflict` if the idempotency
        key was used with another body, `ProjectArchived`.
        """
        async with self._database.project(project_id) as session:
            status = await _open(session, project_id)
            row = await tasks.add(session, self._row(project_id, user_id, new, task_id or new_id()))
            if row is None:
                return await self._same_again(session, new), False
            await history.add_event(
                session, project_id, row.id, 0, EventKind.QUEUED, {"agent": row.agent, "lane": row.lane}
            )
        self._notices.notify(project_id)
        await self._enqueue(row, status)
        return row, True

    async def cancel(self, project_id: ProjectId, task_id: UUID) -> TaskRow:
        """Cancel a task: at once if it is queued, as soon as its worker is notified if it runs."""
        async with self._database.project(project_id) as session:
            row = await tasks.request_cancel(session, task_id)
            if row is None:
                raise await _not_possible(session, task_id, "Cancelling")
            kind = EventKind.CANCELLED if row.state == TaskState.CANCELLED else EventKind.CANCEL_REQUESTED
            await history.add_event(session, project_id, row.id, row.attempts, kind, {})
        self._notices.notify(project_id)
        await self._notify_worker(row)
        return row

    async def retry(self, project_id: ProjectId, task_id: UUID) -> TaskRow:
        """Queue an ended task again."""
        async with self._database.project(project_id) as session:
            status = await _open(session, project_id)
            row = await tasks.retry(session, task_id)
            if row is None:
                raise await _not_possible(session, task_id, "Retrying")
            await history.add_event(session, project_id, row.id, row.attempts, EventKind.QUEUED, {"retry": "by hand"})
        self._notices.notify(project_id)
        await self._enqueue(row, status)
        return row

    async def _same_again(self, session: Session, new: NewTask) -> TaskRow:
        row = await tasks.by_idempotency_key(session, new.idempotency_key or "")
        if row is None or row.request_hash != new.fingerprint():
            raise Conflict(
                what=f"Submitting a task with idempotency key {new.idempotency_key!r}",
                reason="the key was used with another body",
                remedy="Use a new key for a new body",
            )
        return row

    def _row(self, project_id: ProjectId, user_id: UserId | None, new: NewTask, task_id: UUID) -> TaskRow:
        return TaskRow(
            project_id=project_id,
            id=task_id,
            prompt=new.prompt,
            agent=new.agent,
            task_type=new.task_type,
            checks=new.spec.checks.stored(),
            options=new.spec.stored_options(),
            lane=new.lane,
            priority=new.priority,
            not_before=new.not_before,
            timeout_s=new.timeout_s or self._settings.task_timeout_s,
            max_attempts=new.max_attempts or self._settings.max_attempts,
            idempotency_key=new.idempotency_key,
            request_hash=new.fingerprint() if new.idempotency_key else None,
            traceparent=new.traceparent,
            created_by=user_id,
        )

    async def _enqueue(self, row: TaskRow, status: projects.ProjectStatus) -> None:
        wait_s = max(0.0, (row.not_before - row.created_at).total_seconds()) if row.attempts == 0 else 0.0
        lane, project_id = Lane(row.lane), ProjectId(row.project_id)
        try:
            await self._limits.put(lane, project_id, status)
            await self._queue.put(
                lane,
                project_id,
                TaskId(row.id),
                priority=row.priority,
                order=as_order(row.created_at),
                due_in_s=wait_s,
            )
        except EngineUnavailable as error:
            log.warning("task %s is stored in PostgreSQL; the sweeper will queue it: %s", row.id, error)

    async def _notify_worker(self, row: TaskRow) -> None:
        """Notify the worker of a cancel. Without Redis it finds out at its next lease renewal."""
        try:
            if row.state == TaskState.CANCELLED:
                await self._queue.remove(Lane(row.lane), ProjectId(row.project_id), TaskId(row.id))
            elif row.owner:
                await self._pubsub.cancel(row.owner, TaskId(row.id))
        except EngineUnavailable as error:
            log.warning("the worker of task %s will see the cancel at its next lease renewal: %s", row.id, error)


async def _open(session: Session, project_id: ProjectId) -> projects.ProjectStatus:
    """The project's status, locked until the task is committed. Raises `ProjectArchived`, `NotFound`."""
    status = await projects.status(session, project_id, lock=True)
    if status is None or status.deleted:
        raise NotFound(what="project", id=project_id)
    if status.archived:
        raise ProjectArchived(id=project_id)
    return status


async def _not_possible(session: Session, task_id: UUID, action: str) -> NotFound | Conflict:
    row = await tasks.get(session, task_id)
    if row is None:
        return NotFound(what="task", id=task_id)
    remedy = "No action is needed" if TaskState(row.state).final else "Cancel it first"
    return Conflict(what=f"{action} task {task_id}", reason=f"it is {row.state}", remedy=remedy)


def as_order(created_at: datetime) -> int:
    """Milliseconds since 1970: among equal priorities the oldest task runs first."""
    return int(created_at.timestamp() * 1000)
