"""Approved samples, as values and in the database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from kairos.db.engine import Database
from kairos.db.models import SampleRow
from kairos.fine_tuning.dataset.split import ApprovedSample
from kairos.tenancy import ProjectId, new_id
from scripts.demo_learning import KNOWN, DemoTask

CALLS = [(task.prompt, task.right) for task in (DemoTask("paint", thing) for thing in KNOWN[:12])]
NOTES = [(f"{name}: draft the release note.", f"BREAKING: none. {name}") for name in ("Search", "Billing", "Export")]
"""Prompts with their answers, of two kinds."""


def approved(
    number: int,
    prompt: str,
    answer: str = "yes",
    *,
    system: str | None = None,
    task_type: str | None = None,
    held_out: bool = False,
) -> ApprovedSample:
    """Return a sample whose id sorts by `number`."""
    messages = [{"role": "user", "content": prompt}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    return ApprovedSample(UUID(int=number), 1, None, task_type, tuple(messages), answer, held_out)


async def add_approved(
    database: Database, project_id: ProjectId, samples: Iterable[tuple[str, str]], **values: Any
) -> list[UUID]:
    """Store approved samples, given as prompt and answer, in a project. Returns their ids."""
    ids: list[UUID] = []
    async with database.project(project_id) as session:
        for prompt, answer in samples:
            ids.append(new_id())
            message = {"role": "user", "content": prompt}
            row = {"state": "approved", "reason": "r", "prompt": [message], "corrected_output": answer} | values
            session.add(SampleRow(project_id=project_id, id=ids[-1], **row))
    return ids
