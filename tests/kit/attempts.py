"""Claims of tasks that no worker runs, and their journals."""

from __future__ import annotations

from datetime import timedelta

from kairos.db.repositories.tasks import tasks
from kairos.orchestration.queue.claim import Claim, claim_of
from kairos.orchestration.tasks.attempt_journal import AttemptJournal
from tests.kit.kairos_app import KairosApp

LEASE = timedelta(hours=1)


async def claimed(app: KairosApp) -> Claim:
    """Submit a task and claim it without a worker."""
    task_id = await app.submit()
    async with app.database.project(app.project_id) as session:
        row = await tasks.claim(session, task_id, "tests", LEASE)
    assert row is not None
    return claim_of(row, {})


def journal_of(app: KairosApp, claim: Claim) -> AttemptJournal:
    return AttemptJournal(app.database, claim, app.parts.orchestration.submissions._notices)
