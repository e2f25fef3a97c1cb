"""Where rows of the dataset come in: each with its fingerprint and with what looks like a secret in it."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from kairos.db.engine import Session
from kairos.db.models import SampleRow
from kairos.db.repositories import dataset
from kairos.fine_tuning.dataset.dataset import fingerprint, secrets_of


class SampleSource(StrEnum):
    """Who found the fault."""

    GUARDIAN = "guardian"
    FAILURE = "failure"
    PERSON = "person"
    IMPORT = "import"


async def record(session: Session, row: SampleRow, source: SampleSource) -> UUID:
    """Keep a row; the id of the one it is the same as, where the fault is known already."""
    row.source = source
    row.fingerprint = fingerprint(row.prompt, row.faulty_output)
    row.secrets = secrets_of(row.prompt, row.faulty_output, row.corrected_output)
    return await dataset.join(session, row)
