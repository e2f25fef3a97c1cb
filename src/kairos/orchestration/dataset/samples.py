"""Adds rows to the dataset, each with its fingerprint and the secrets found in it."""

from __future__ import annotations

from uuid import UUID

from kairos.db.engine import Session
from kairos.db.models import SampleRow, SampleSource
from kairos.db.repositories.dataset import dataset
from kairos.fine_tuning.dataset.dataset import fingerprint, secrets_of


async def record(session: Session, row: SampleRow, source: SampleSource) -> UUID:
    """Add a row. Returns its id, or the id of the existing row with the same fault."""
    row.source = source
    row.fingerprint = fingerprint(row.prompt, row.faulty_output)
    row.secrets = secrets_of(row.prompt, row.faulty_output, row.corrected_output)
    return await dataset.join(session, row)
