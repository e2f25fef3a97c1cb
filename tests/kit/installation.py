"""A Kairos with adapters that were created without training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kairos.db.models import AdapterRow, AdapterState, SampleRow, TrainingRunRow
from kairos.db.repositories import adapters
from kairos.fine_tuning.adapters.serving import served_name
from kairos.fine_tuning.gate.evaluation import Comparison, GateOutcome, GateReport
from kairos.tenancy import new_id
from tests.kit.kairos_app import KairosApp

BASE = "smol"
NOTHING = Comparison((), None, None, None, None, None)
PROMPT = "Write the Vex call to clean the lamp."


@dataclass(slots=True)
class Installation:
    """A Kairos whose only model has adapters, with helpers that create adapters without training."""

    app: KairosApp
    folder: Path

    @property
    def promotions(self):
        return self.app.parts.learning.promotions

    async def stored(self, files: Mapping[str, bytes], manifest: Mapping[str, Any]) -> AdapterRow:
        """Create an adapter of these files, as a training run would."""
        app, run_id, sample_id = self.app, new_id(), new_id()
        trained = self.folder / str(run_id)
        trained.mkdir()
        for name, content in files.items():
            (trained / name).write_bytes(content)
        async with app.database.project(app.project_id) as session:
            version = await adapters.next_version(session, BASE)
        stored = app.parts.learning.files.save(trained, app.project_id, BASE, version, {"run": str(run_id)})
        row = AdapterRow(
            project_id=app.project_id, id=run_id, run_id=run_id, base=BASE, version=version, path=stored.path,
            sha256=stored.sha256, bytes=stored.bytes, manifest=dict(manifest),
        )  # fmt: skip
        prompt = [{"role": "user", "content": PROMPT}]
        async with app.database.project(app.project_id) as session:
            session.add(TrainingRunRow(project_id=app.project_id, id=run_id, base=BASE))
            session.add(
                SampleRow(
                    project_id=app.project_id,
                    id=sample_id,
                    prompt=prompt,
                    reason="r",
                    state="approved",
                    corrected_output="x",
                )
            )
            await session.flush()
            await adapters.add(session, row, [{"sample_id": sample_id, "version": 1, "part": "training"}])
        return row

    async def decide(self, row: AdapterRow, outcome: GateOutcome) -> AdapterRow:
        report = GateReport(NOTHING, NOTHING, 0.1, outcome, "set by the test")
        return await self.promotions.rule(self.app.project_id, row.id, report)

    async def state(self, row: AdapterRow) -> AdapterState:
        async with self.app.database.project(self.app.project_id) as session:
            found = await adapters.get(session, row.id)
        assert found
        return AdapterState(found.state)

    async def answering_models(self, required: str, amount: int, *, within_s: float = 60) -> list[str]:
        """Run tasks that require a text in the answer, and return the models that answered them."""
        answered = []
        for number in range(amount):
            task_id = await self.app.submit(f"{PROMPT} {number}", task_type="vex", require=(required,))
            answered.append((await self.app.finished(task_id, within_s)).model)
        return answered

    def name_of(self, row: AdapterRow) -> str:
        return served_name(BASE, self.app.project_id, row.version)
