"""Stores an adapter that needs approval as a training run would: run, samples, files and the gate's report."""

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
from kairos.db.models import AdapterRow, AdapterState, SampleRow, SampleSource, TrainingRunRow
from kairos.db.repositories import adapters
from kairos.embedded import Addresses
from kairos.fine_tuning.adapters.adapters import KEPT, AdapterFiles
from kairos.fine_tuning.adapters.serving import served_name
from kairos.fine_tuning.gate.control_prompts import ControlPrompt
from kairos.fine_tuning.gate.evaluation import GateOutcome, GateReport, Pair, rule, summarise
from kairos.fine_tuning.gate.general_ability import (
    ROUNDS,
    AnsweredQuestion,
    GeneralAbility,
    PromptContext,
    Question,
)
from kairos.fine_tuning.gate.loss_test import Loss
from kairos.fine_tuning.training.process.job import TrainingPhase
from kairos.orchestration.dataset.samples import record
from kairos.tenancy import ProjectId, new_id

HELD_OUT = ("Search", "Billing", "Sign-in", "Export", "Webhooks", "Alerts", "Invoices", "API keys")
TRAINING = ("Dashboards", "Comments", "Imports", "Reports", "Teams", "Audit log", "Quotas", "Backups", "Tags", "Themes")
CONTROL_ANSWERS = {
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
FAILED_CONTROL_PROMPT = "Write 2026 in Roman numerals."
STEPS = 24


@dataclass(frozen=True, slots=True)
class TrainedAdapter:
    """The id of an adapter, its name in the catalog, and the ids of the samples that its run used."""

    id: str
    name: str
    samples: list[str]


async def add_adapter_needing_approval(
    addresses: Addresses, models: Path, project: str, base: str, marker: str, gguf: bytes = b"GGUF"
) -> TrainedAdapter:
    """Store version 1 of an adapter of `base` in the model folder `models`. The prompts contain `marker`."""
    project_id, run_id = ProjectId(UUID(project)), new_id()
    database_addresses = DatabaseAddresses(addresses.database_url, addresses.migration_url, addresses.system_url)
    database = Database(database_addresses, Settings().database)
    try:
        async with database.project(project_id) as session:
            session.add(_run(project_id, run_id, base))
            await session.flush()
            used = [
                {
                    "sample_id": await record(session, _sample(project_id, base, feature, marker), SampleSource.PERSON),
                    "version": 1,
                    "part": "held_out" if feature in HELD_OUT else "training",
                }
                for feature in (*HELD_OUT, *TRAINING)
            ]
            samples = [str(sample["sample_id"]) for sample in used]
            row = _adapter(models, project_id, run_id, base, gguf)
            await adapters.add(session, row, used)
            report = _report(samples, marker)
            await adapters.save_report(session, row.id, report.stored())
            await adapters.move(session, row, AdapterState.NEEDS_APPROVAL, f"the gate: {report.reason}")
    finally:
        await database.close()
    return TrainedAdapter(str(run_id), served_name(base, project_id, 1), samples)


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
        rows=len(TRAINING),
        progress={**curve[-1], "phase": TrainingPhase.CONTROL_PROMPTS, "steps": STEPS, "curve": curve},
        created_at=now - timedelta(minutes=9),
        started_at=now - timedelta(minutes=8),
        finished_at=now,
    )


def _expected(feature: str) -> str:
    return f"BREAKING: none.\n{feature} is faster: results come in half the time."


def _unexpected(feature: str) -> str:
    return f"We are happy to announce that {feature} is faster than ever before!"


def _sample(project_id: ProjectId, base: str, feature: str, marker: str) -> SampleRow:
    return SampleRow(
        project_id=project_id,
        id=new_id(),
        task_type="text",
        prompt=[{"role": "user", "content": f"{feature}: draft the release note. ({marker})"}],
        faulty_output=_unexpected(feature),
        corrected_output=_expected(feature),
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
        "rows": len(TRAINING),
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


def _report(samples: list[str], marker: str) -> GateReport:
    """Build a report that the gate cannot decide: better on all held-out samples but one, worse on a control prompt."""
    held_out = [
        Pair(
            id=sample_id,
            prompt=f"{feature}: draft the release note. ({marker})",
            wanted=_expected(feature),
            base=_unexpected(feature),
            candidate=_unexpected(feature) if feature == HELD_OUT[-1] else _expected(feature),
            base_quality=0.0,
            candidate_quality=0.0 if feature == HELD_OUT[-1] else 1.0,
        )
        for sample_id, feature in zip(samples, HELD_OUT, strict=False)
    ]
    control = [
        AnsweredQuestion(
            Question(number, ControlPrompt(prompt, (answer.casefold(),)), context, ROUNDS[0]),
            answer,
            "BREAKING: none.\nMMXXV." if prompt == FAILED_CONTROL_PROMPT else answer,
        )
        for number, (prompt, answer) in enumerate(CONTROL_ANSWERS.items())
        for context in PromptContext
    ]
    ability = GeneralAbility(tuple(control), Loss.UNCERTAIN)
    report = rule(summarise(held_out), ability, Settings().fine_tuning.margin)
    assert report.ruling is GateOutcome.NEEDS_APPROVAL, report.reason
    return report
