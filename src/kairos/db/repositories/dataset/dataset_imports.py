"""Dataset imports: the project's import slot, lookup of existing rows, and bulk writes.

Every function runs in the project's scope and is one statement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import ARRAY, LargeBinary, Text, TextClause, and_, cast, delete, func, select, text, union_all, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from kairos.db.models import DatasetImportRow, SampleRow
from kairos.tenancy import ProjectId

HOLD = timedelta(seconds=60)
"""Time for which a slot stays taken after its holder last extended it."""


async def acquire_slot(session: AsyncSession, project_id: ProjectId, holder: UUID) -> bool:
    """Take the slot. Returns False if another holder has it."""
    until = func.now() + HOLD
    statement = insert(DatasetImportRow).values(project_id=project_id, holder=holder, held_until=until)
    statement = statement.on_conflict_do_update(
        index_elements=["project_id"],
        set_={"holder": holder, "held_until": until},
        where=DatasetImportRow.held_until < func.now(),
    )
    return (await session.execute(statement.returning(DatasetImportRow.holder))).first() is not None


async def extend_slot(session: AsyncSession, holder: UUID) -> bool:
    """Extend the slot and lock it until the transaction ends. Returns False if the holder lost it."""
    statement = update(DatasetImportRow).where(DatasetImportRow.holder == holder)
    statement = statement.values(held_until=func.now() + HOLD).returning(DatasetImportRow.holder)
    return (await session.execute(statement)).first() is not None


async def release_slot(session: AsyncSession, holder: UUID) -> None:
    await session.execute(delete(DatasetImportRow).where(DatasetImportRow.holder == holder))


async def known(
    session: AsyncSession, ids: Sequence[UUID], fingerprints: Sequence[bytes], answers: Sequence[str]
) -> list[SampleRow]:
    """Rows with one of the ids, with a pair of fingerprint and correct answer, or with one of the fingerprints and no
    correct answer. Locked, in the order of their ids."""
    pairs = select(
        func.unnest(cast(list(fingerprints), ARRAY(LargeBinary))).label("fingerprint"),
        func.unnest(cast(list(answers), ARRAY(Text))).label("answer"),
    ).subquery("pairs")
    digest = func.hashtextextended(SampleRow.corrected_output, 0)
    same_fault = SampleRow.fingerprint == pairs.c.fingerprint
    # Two joins, because each is an index range scan; with OR, all answers of a prompt would be read.
    same = select(SampleRow.id).join(pairs, and_(same_fault, digest == func.hashtextextended(pairs.c.answer, 0)))
    unanswered = select(SampleRow.id).join(pairs, and_(same_fault, digest.is_(None)))
    by_id = select(SampleRow.id).where(SampleRow.id.in_(ids))
    statement = select(SampleRow).where(SampleRow.id.in_(union_all(by_id, same, unanswered)))
    return list((await session.execute(statement.order_by(SampleRow.id).with_for_update())).scalars())


async def add(session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows with the same columns."""
    await session.execute(_insert([*rows[0]], "do nothing"), {"rows": _json(rows)})


async def change(session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> None:
    """Overwrite rows by id; the transaction has locked them."""
    taken = ", ".join(f"{name} = excluded.{name}" for name in rows[0] if name not in ("project_id", "id"))
    await session.execute(_insert([*rows[0]], f"do update set {taken}"), {"rows": _json(rows)})


def _insert(columns: Sequence[str], on_conflict: str) -> TextClause:
    """A statement with one JSON parameter: SQLAlchemy needs 140 ms on the event loop to build VALUES of 500 rows."""
    names = ", ".join(columns)
    table = SampleRow.__tablename__
    return text(
        f"insert into {table} ({names}) select {names}"  # noqa: S608  # names of columns, from this package
        f" from jsonb_populate_recordset(cast(null as {table}), cast(:rows as jsonb))"
        f" on conflict (project_id, id) {on_conflict}"
    )


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    return orjson.dumps(list(rows), default=_bytea).decode()


def _bytea(value: object) -> str:
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    raise TypeError(type(value))
