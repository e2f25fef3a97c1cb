"""An adapter that the gate left to a person, as a run leaves it: the run, the rows it saw, files and report."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from kairos import __version__
from kairos.config import Settings
from kairos.db.addresses import DatabaseAddresses
from kairos.db.engine import Database
from kairos.db.models import AdapterRow, AdapterState, SampleRow, TrainingRunRow
from kairos.db.repositories import adapters
from kairos.embedded import Addresses
from kairos.fine_tuning.adapters.adapters import KEPT, AdapterFiles
from kairos.fine_tuning.adapters.serving import served_name
from kairos.fine_tuning.gate.evaluation import GateOutcome, GateReport, Pair, rule, summarise
from kairos.orchestration.dataset.samples import SampleSource, record
from kairos.tenancy import ProjectId, new_id

MEASURED = ("Search", "Billing", "Sign-in", "Export", "Webhooks", "Alerts", "Invoices", "API keys")
LEARNED = ("Dashboards", "Comments", "Imports", "Reports", "Teams", "Audit log", "Quotas", "Backups", "Tags", "Themes")
ORDINARY = {
    "Which city is the capital of Italy?": "Rome.",
    "How many minutes are three hours?": "180 minutes.",
    "Translate to German: good morning": "Guten Morgen.",
    "Give the opposite of early.": "Late.",
    "Which month comes after March?": "April.",
    "What is 17 + 25?": "42.",
    "Name the largest planet of the solar system.": "Jupiter.",
    "Is a whale a fish?": "No, a whale is a mammal.",
    "Write 2026 in Roman numerals.": "MMXXVI.",
    "Spell the plural of mouse.": "Mice.",
    "Which sea lies south of Turkey?": "The Mediterranean Sea.",
    "How many sides has a hexagon?": "Six.",
}
FORGOTTEN = "Write 2026 in Roman numerals."
STEPS = 24


@dataclass(frozen=True, slots=True)
class Trained:
    """The adapter, what the router calls it, and the rows that it saw."""

    id: str
    name: str
    samples: list[str]


async def left_to_a_person(
    addresses: Addresses, models: Path, project: str, base: str, word: str, gguf: bytes = b"GGUF"
) -> Trained:
    """The first adapter of a base; `models` is the daemon's folder of them. The word stands in whatever has a text."""
    project_id, run_id = ProjectId(UUID(project)), new_id()
    at = DatabaseAddresses(addresses.database_url, addresses.migration_url, addresses.system_url)
    database = Database(at, Settings().database)
    try:
        async with database.project(project_id) as session:
            session.add(_run(project_id, run_id, base))
            await session.flush()
            seen = [
                {
                    "sample_id": await record(session, _sample(project_id, base, name, word), SampleSource.PERSON),
                    "version": 1,
                    "part": "held_out" if name in MEASURED else "training",
                }
                for name in (*MEASURED, *LEARNED)
            ]
            samples = [str(one["sample_id"]) for one in seen]
            row = _adapter(models, project_id, run_id, base, gguf)
            await adapters.add(session, row, seen)
            report = _report(samples, word)
            await adapters.save_report(session, row.id, report.stored())
            await adapters.move(session, row, AdapterState.NEEDS_APPROVAL, f"the gate: {report.reason}")
    finally:
        await database.close()
    return Trained(str(run_id), served_name(base, project_id, 1), samples)


def _run(project_id: ProjectId, run_id: UUID, base: str) -> TrainingRunRow:
    now = datetime.now(UTC)
    curve: list[dict[str, Any]] = [
        {
            "step": step,
            "loss": 0.3 + 1.9 * math.exp(-step / 7),
            "validation_loss": 0.5 + 1.6 * math.exp(-step / 9) if step % 6 == 0 else None,
        }
        for step in range(1, STEPS + 1)
    ]
    return TrainingRunRow(
        project_id=project_id,
        id=run_id,
        base=base,
        state="done",
        rows=len(LEARNED),
        progress={**curve[-1], "phase": "evaluating", "steps": STEPS, "curve": curve},
        created_at=now - timedelta(minutes=9),
        started_at=now - timedelta(minutes=8),
        finished_at=now,
    )


def _wanted(name: str) -> str:
    return f"BREAKING: none.\n{name} is faster: results come in half the time."


def _plain(name: str) -> str:
    return f"We are happy to announce that {name} is faster than ever before!"


def _sample(project_id: ProjectId, base: str, name: str, word: str) -> SampleRow:
    return SampleRow(
        project_id=project_id,
        id=new_id(),
        task_type="text",
        prompt=[{"role": "user", "content": f"{name}: draft the release note. ({word})"}],
        faulty_output=_plain(name),
        corrected_output=_wanted(name),
        reason="Edited by a person",
        state="approved",
        labelled_at=datetime.now(UTC),
        model=base,
    )


def _adapter(models: Path, project_id: ProjectId, run_id: UUID, base: str, gguf: bytes) -> AdapterRow:
    manifest = {
        "project": str(project_id),
        "base": {"name": base, "sha256": "5" * 64},
        "version": 1,
        "rows": len(LEARNED),
        "settings": {"rank": 16, "epochs": 4, "learning_rate": 2e-4, "seed": 1},
        "kairos": __version__,
        "run": str(run_id),
    }
    with tempfile.TemporaryDirectory() as folder:
        for name in KEPT:
            (Path(folder) / name).write_bytes(gguf)
        stored = AdapterFiles(models, 2**30).save(Path(folder), project_id, base, 1, manifest)
    return AdapterRow(
        project_id=project_id,
        id=run_id,
        run_id=run_id,
        base=base,
        version=1,
        path=stored.path,
        sha256=stored.sha256,
        bytes=stored.bytes,
        manifest=manifest,
    )


def _report(samples: list[str], word: str) -> GateReport:
    """Better at what it was trained for, but for one; and it has perhaps unlearned something: the gate cannot say."""
    held_out = [
        Pair(
            id=sample_id,
            prompt=f"{name}: draft the release note. ({word})",
            wanted=_wanted(name),
            base=_plain(name),
            candidate=_plain(name) if name == MEASURED[-1] else _wanted(name),
            base_quality=0.0,
            candidate_quality=0.0 if name == MEASURED[-1] else 1.0,
        )
        for sample_id, name in zip(samples, MEASURED, strict=False)
    ]
    control = [
        Pair(
            id=f"control-{number}",
            prompt=prompt,
            wanted=answer,
            base=answer,
            candidate="BREAKING: none.\nMMXXV." if prompt == FORGOTTEN else answer,
            base_quality=1.0,
            candidate_quality=0.0 if prompt == FORGOTTEN else 1.0,
        )
        for number, (prompt, answer) in enumerate(ORDINARY.items())
    ]
    report = rule(summarise(held_out), summarise(control), Settings().fine_tuning.margin)
    assert report.ruling is GateOutcome.NEEDS_APPROVAL, report.reason
    return report
