"""Imports files of training data into a project's dataset: one import at a time, in short transactions.

A row is identified by the id of its export, else by its prompt, rejected answer and correct answer. Existing rows are
left unchanged, so an interrupted import can be sent again as a whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from uuid import UUID

from kairos.db.engine import Database, Session
from kairos.db.repositories.dataset import dataset_imports
from kairos.errors import KairosError
from kairos.fine_tuning.dataset.dataset import fingerprint, secrets_of
from kairos.fine_tuning.dataset.formats import detection
from kairos.fine_tuning.dataset.formats.records import Record
from kairos.fine_tuning.dataset.formats.row import RowRefused
from kairos.orchestration.dataset.import_batch import Batch, Decisions, Prepared, RowOutcome
from kairos.tenancy import ProjectId, UserId, new_id

BATCH_ROWS = 500
"""Rows in one transaction. With 14 columns they stay below PostgreSQL's limit of 65,535 parameters."""
BATCH_BYTES = 2_000_000
MAX_ROWS = 50_000
"""Rows in one request."""
MAX_REFUSALS = 1_000
"""Rejected rows reported with line and reason in one request; further ones are only counted."""


class ImportRunning(KairosError):
    """Another import into this project is running. Wait until it has ended, then send this one again: existing rows are
    left unchanged."""

    status, code, exit_code = 409, "import_running", 5


class TooManyRows(KairosError):
    """The import has more than {most} rows. Split it into smaller parts, as `kairos dataset import` does."""

    status, code, exit_code = 413, "too_many_rows", 2


@dataclass(frozen=True, slots=True)
class RefusedRow:
    line: int
    reason: str


@dataclass(slots=True)
class ImportReport:
    """Number of rows by outcome, and the first rejected rows."""

    rows: int = 0
    counts: dict[RowOutcome, int] = field(default_factory=lambda: dict.fromkeys(RowOutcome, 0))
    refusals: list[RefusedRow] = field(default_factory=list)

    def add(self, outcome: RowOutcome, line: int, reason: str = "") -> None:
        self.rows += 1
        self.counts[outcome] += 1
        if outcome is RowOutcome.REFUSED and len(self.refusals) < MAX_REFUSALS:
            self.refusals.append(RefusedRow(line, reason))


@dataclass(frozen=True, slots=True)
class ImportSlot:
    """The right to import into a project."""

    database: Database
    project_id: ProjectId
    user_id: UserId
    holder: UUID

    def transaction(self):
        return self.database.project(self.project_id, self.user_id)


@asynccontextmanager
async def slot(database: Database, project_id: ProjectId, user_id: UserId) -> AsyncIterator[ImportSlot]:
    """Hold the project's import slot, without holding a database connection. Raises `ImportRunning`."""
    taken = ImportSlot(database, project_id, user_id, new_id())
    async with taken.transaction() as session:
        if not await dataset_imports.acquire_slot(session, project_id, taken.holder):
            raise ImportRunning
    try:
        yield taken
    finally:
        async with taken.transaction() as session:
            await dataset_imports.release_slot(session, taken.holder)


async def import_records(slot: ImportSlot, records: Iterable[Record], *, approve: bool) -> ImportReport:
    """Import the records batch by batch. Committed batches remain if a later one fails.

    With `approve`, correct answers are approved without review. Raises `ImportRunning`, `TooManyRows`.
    """
    given = await asyncio.to_thread(lambda: list(islice(records, MAX_ROWS + 1)))
    if len(given) > MAX_ROWS:
        raise TooManyRows(most=f"{MAX_ROWS:,}")
    report, decisions = ImportReport(), Decisions(slot.project_id, slot.user_id, approve)
    for batch in _batches(given):
        prepared = await asyncio.to_thread(lambda batch=batch: [_prepared(record) for record in batch])
        await _save(slot, prepared, report, decisions)
    return report


def _batches(records: Sequence[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    size = 0
    for record in records:
        if batch and (len(batch) == BATCH_ROWS or size + len(record.text) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += len(record.text)
    if batch:
        yield batch


def _prepared(record: Record) -> Prepared | RefusedRow:
    try:
        row = detection.read(record.text)
    except RowRefused as refusal:
        return RefusedRow(record.line, str(refusal))
    secrets = secrets_of(row.messages, row.faulty, row.answer)
    return Prepared(record.line, row, fingerprint(row.messages, row.faulty), secrets)


async def _save(
    slot: ImportSlot, prepared: Sequence[Prepared | RefusedRow], report: ImportReport, decisions: Decisions
) -> None:
    rows = [one for one in prepared if isinstance(one, Prepared)]
    async with slot.transaction() as session:
        if not await dataset_imports.extend_slot(session, slot.holder):
            raise ImportRunning
        outcomes = iter(await _written(session, rows, decisions))
    for one in prepared:
        outcome, reason = (RowOutcome.REFUSED, one.reason) if isinstance(one, RefusedRow) else next(outcomes)
        report.add(outcome, one.line, reason)


async def _written(session: Session, rows: Sequence[Prepared], decisions: Decisions) -> list[tuple[RowOutcome, str]]:
    if not rows:
        return []
    ids = [one.row.id for one in rows if one.row.id]
    fingerprints, answers = [one.fingerprint for one in rows], [one.row.answer for one in rows]
    batch = Batch(decisions, await dataset_imports.known(session, ids, fingerprints, answers))
    outcomes = [batch.place(one) for one in rows]
    if batch.added:
        await dataset_imports.add(session, batch.added)
    if batch.changed:
        await dataset_imports.change(session, batch.changed)
    return outcomes
