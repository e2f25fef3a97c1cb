"""The app role can neither see nor change the rows of another project, and errors do not reveal them."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from kairos.db.engine import Database
from kairos.db.models import (
    PROJECT_OWNED,
    AdapterRow,
    AdapterSampleRow,
    ApiKeyRow,
    DatasetImportRow,
    DecisionRow,
    InvitationRow,
    LabelRow,
    MetricRow,
    PluginValueRow,
    PositionRow,
    ProjectConfigRow,
    ProjectModelRow,
    ProjectProviderRow,
    SampleRow,
    StatisticsRow,
    TaskEventRow,
    TaskRow,
    TaskTypeRow,
    TrainingRunRow,
    VerdictRow,
)
from kairos.db.repositories.access import people
from kairos.tenancy import NOBODY, ProjectId, Scope, UserId, new_id

CHANGEABLE = [
    "held_until",
    "prompt",
    "kind",
    "output",
    "reason",
    "version",
    "turn",
    "examples",
    "duration_s",
    "role",
    "name",
    "label",
    "rows",
    "value",
]
"""For each table, a column that can be written without violating a constraint."""


@pytest.fixture
async def two_projects(database: Database) -> tuple[ProjectId, ProjectId, UUID]:
    """Projects A and B, and a task of B with a row in every project-owned table."""
    a, b = await _project(database), await _project(database)
    task_id = new_id()
    async with database.project(b) as session:
        await session.execute(insert(TaskRow).values(_values(TaskRow, b, task_id)))
        for row in (PositionRow, TrainingRunRow, AdapterRow, ProjectProviderRow):
            await session.execute(insert(row).values(_values(row, b, task_id)))
        for row in PROJECT_OWNED:
            if row in (TaskRow, PositionRow, TrainingRunRow, AdapterRow, ProjectProviderRow):
                continue
            await session.execute(insert(row).values(_values(row, b, task_id)))
    return a, b, task_id


async def _project(database: Database) -> ProjectId:
    user_id, project_id = UserId(new_id()), ProjectId(new_id())
    async with database.scope(Scope(project_id, user_id, operator=True)) as session:
        await people.add_user(session, user_id, f"{user_id}@test", "T", operator=False)
        await people.add_project(session, project_id, "P", user_id)
    return project_id


@pytest.mark.parametrize("row", PROJECT_OWNED, ids=lambda row: row.__tablename__)
async def test_rows_of_another_project_cannot_be_seen_or_changed(database: Database, two_projects, row):
    a, b, _ = two_projects
    column = next(c for c in row.__table__.columns if c.name in CHANGEABLE)
    async with database.project(b) as session:
        assert await session.scalar(select(func.count()).select_from(row)) == 1, "B sees its own row"
    for scope in (Scope(a), NOBODY):
        async with database.scope(scope) as session:
            assert await session.scalar(select(func.count()).select_from(row)) == 0
            assert (await session.execute(update(row).values({column.name: column}).returning(column))).all() == []
            assert (await session.execute(delete(row).returning(column))).all() == []
    async with database.project(b) as session:
        assert await session.scalar(select(func.count()).select_from(row)) == 1
        changed = await session.execute(update(row).values({column.name: column}).returning(column))
        assert len(changed.all()) == 1, "B can change it"


@pytest.mark.parametrize("row", PROJECT_OWNED, ids=lambda row: row.__tablename__)
async def test_rows_cannot_be_written_into_another_project(database: Database, two_projects, row):
    """A new id and an id of B give the same error, that of the policy."""
    a, b, task_id = two_projects
    for given in (task_id, new_id()):
        with pytest.raises(DBAPIError, match="row-level security"):
            async with database.project(a) as session:
                await session.execute(insert(row).values(_values(row, b, given)))


async def test_id_of_another_project_can_be_reused(database: Database, two_projects):
    """Inserting an id that another project uses succeeds, so it does not reveal that the id exists."""
    a, _, task_id = two_projects
    async with database.project(a) as session:
        await session.execute(insert(TaskRow).values(_values(TaskRow, a, task_id)))
        assert await session.scalar(select(TaskRow.prompt).where(TaskRow.id == task_id)) == "mine"


@pytest.mark.parametrize("row", [TaskEventRow, VerdictRow, LabelRow], ids=lambda row: row.__tablename__)
async def test_task_of_another_project_cannot_be_referenced(database: Database, two_projects, row):
    """The error is the same as for a task that does not exist."""
    a, _, task_id = two_projects
    messages = []
    for given in (task_id, new_id()):
        with pytest.raises(IntegrityError) as caught:
            async with database.project(a) as session:
                await session.execute(insert(row).values(_values(row, a, given)))
        messages.append(str(caught.value.orig).replace(str(given), "ID"))
    assert messages[0] == messages[1]


async def test_row_cannot_be_moved_to_another_project(database: Database, two_projects):
    a, b, task_id = two_projects
    with pytest.raises(DBAPIError, match="row-level security"):
        async with database.project(b) as session:
            await session.execute(update(TaskRow).where(TaskRow.id == task_id).values(project_id=a))


async def test_scope_ends_with_its_transaction(database: Database, two_projects):
    """The next user of the connection does not inherit the scope."""
    _, b, _ = two_projects
    async with database.project(b) as session:
        assert await session.scalar(select(func.count()).select_from(TaskRow)) == 1
    async with database._sessions.begin() as session:  # a transaction without a scope
        assert await session.scalar(select(func.count()).select_from(TaskRow)) == 0


async def test_app_role_cannot_read_a_partition(database: Database):
    async with database.scope(NOBODY) as session:
        with pytest.raises(DBAPIError, match="permission denied"):
            await session.execute(text("select * from model_performance_metrics_default"))


async def test_app_role_cannot_disable_the_policy(database: Database):
    for statement in (
        "alter table tasks disable row level security",
        "drop policy scope on tasks",
        "set role kairos_owner",
        "select * from kairos_tasks_page('queued', '00000000-0000-0000-0000-000000000000', 10)",
    ):
        with pytest.raises(DBAPIError, match=r"must be owner|permission denied|does not exist"):
            async with database.scope(NOBODY) as session:
                await session.execute(text(statement))


async def test_system_role_reads_ids_but_no_table(database: Database, two_projects):
    _, _, task_id = two_projects
    async with database.system() as connection:
        page = await connection.execute(
            text("select * from kairos_tasks_page('queued', '00000000-0000-0000-0000-000000000000', 1000)")
        )
        columns, ids = set(page.keys()), {row.id for row in page}
    assert task_id in ids
    assert columns == {"project_id", "id", "lane", "priority", "created_at", "not_before"}
    with pytest.raises(DBAPIError, match="permission denied"):
        async with database.system() as connection:
            await connection.execute(text("select * from tasks"))


async def test_users_are_visible_only_in_their_project(database: Database):
    a, b = await _project(database), await _project(database)
    async with database.project(a) as session:
        mine = (await session.execute(text("select id from users"))).scalars().all()
    async with database.project(b) as session:
        theirs = (await session.execute(text("select id from users"))).scalars().all()
    assert len(mine) == len(theirs) == 1
    assert mine != theirs
    async with database.scope(NOBODY) as session:
        assert (await session.execute(text("select id from users"))).all() == []


def _values(row, project_id, task_id) -> dict:
    """Return the required columns of a row of that table, with `task_id` as every id."""
    zero = dict.fromkeys(("n", "s", "q", "short_n", "short_s", "short_q", "turn", "calls", "position"), 0)
    of_row = {
        TaskRow: {"id": task_id, "prompt": "mine", "agent": "x", "lane": "batch", "timeout_s": 1, "max_attempts": 1},
        TaskEventRow: {"task_id": task_id, "attempt": 1, "kind": "k"},
        VerdictRow: {
            "id": UUID(int=7),
            "task_id": task_id,
            "attempt": 1,
            "draft": 1,
            "approved": True,
            "findings": [],
            "checks": [],
            "output": "",
        },
        DecisionRow: {
            "id": task_id,
            "task_type": "t",
            "task_type_source": "c",
            "kind": "k",
            "candidates": [],
            "excluded": [],
        },
        SampleRow: {"id": task_id, "task_id": task_id, "attempt": 1, "prompt": [], "reason": "r"},
        MetricRow: {
            "id": task_id,
            "at": datetime.now(UTC),
            "model": "m",
            "task_type": "t",
            "success": True,
            "duration_s": 1.0,
        },
        PositionRow: {"task_type": "t"},
        StatisticsRow: {"task_type": "t", "model": "m", "last_change": datetime.now(UTC), **zero},
        ProjectProviderRow: {"id": task_id, "name": "p", "kind": "openai", "address": "a", "local": False},
        ProjectModelRow: {"id": task_id, "provider_id": task_id, "name": "m", "upstream": "m"},
        DatasetImportRow: {"holder": task_id, "held_until": datetime.now(UTC)},
        InvitationRow: {"id": task_id, "token_hash": b"t", "role": "member", "expires_at": datetime.now(UTC)},
        ApiKeyRow: {"id": task_id, "name": "k", "prefix": "p", "key_hash": b"h", "scopes": [], "created_by": task_id},
        LabelRow: {"task_id": task_id, "label": "accept"},
        TrainingRunRow: {"id": task_id, "base": "b"},
        AdapterRow: {
            "id": task_id,
            "run_id": task_id,
            "base": "b",
            "version": 1,
            "path": "p",
            "sha256": "s",
            "bytes": 1,
            "manifest": {},
        },
        AdapterSampleRow: {"adapter_id": task_id, "sample_id": task_id, "version": 1, "part": "training"},
        ProjectConfigRow: {"version": 1, "why": "w", "changes": {}, "settings": {}},
        PluginValueRow: {"plugin": "p", "key": "k", "value": 1},
        TaskTypeRow: {"embedding_model": "e", "task_type": "t", "examples": 1, "vector_sum": [1.0]},
    }
    return {"project_id": project_id, **of_row[row]}
