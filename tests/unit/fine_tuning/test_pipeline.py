"""The steps of a training run that need no database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from kairos.config import FineTuningSettings
from kairos.fine_tuning.adapters.deployments import GateModels
from kairos.fine_tuning.dataset.split import ApprovedSample, Part
from kairos.fine_tuning.gate.evaluation import GateOutcome, GatePrompt
from kairos.fine_tuning.gate.gate import Gate
from kairos.fine_tuning.pipeline import TrainingPipeline
from kairos.fine_tuning.training.process import job
from kairos.fine_tuning.training.process.job import TrainingSettings
from kairos.fine_tuning.training.trainer import CannotTrain, Trainer
from kairos.http import HttpClient
from kairos.llm.calls.providers import Providers
from kairos.llm.catalog.catalog import Model
from tests.kit.model_server import ModelServer, ScriptedModel

SYSTEM = "the system's words"
SETTINGS = FineTuningSettings(control_prompts=8)


class PipelineBench:
    """A pipeline, and scripted models to train and evaluate."""

    def __init__(self, server: ModelServer, http: HttpClient, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.pipeline = TrainingPipeline(Trainer(SETTINGS, folder / "models"), Gate(Providers(http), SETTINGS), SYSTEM)
        self.phases: set[str] = set()

    def model(self, name: str, answer: str) -> Model:
        (weights := self.folder / "tiny.gguf").write_bytes(b"GGUF")
        self.server.add(ScriptedModel(name, answer=answer))
        return Model(name, name, self.server.base_url, local=True, weights=str(weights))

    async def count(self, phase: str, done: int, of: int) -> None:
        self.phases.add(phase)


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PipelineBench]:
    # Nothing is trained here, so the requirements of a training do not matter.
    monkeypatch.setattr("kairos.fine_tuning.training.trainer.LIBRARIES", ())
    monkeypatch.setattr("kairos.fine_tuning.training.trainer.LIBRARIES_BYTES", 0)
    async with ModelServer() as server, HttpClient() as http:
        yield PipelineBench(server, http, tmp_path)


def rows(amount: int) -> list[ApprovedSample]:
    return [
        ApprovedSample(UUID(int=n), 1, None, None, ({"role": "user", "content": f"ask {n}"},), f"right {n}")
        for n in range(amount)
    ]


async def test_every_row_is_trained_on_or_held_out_and_replayed_answers_are_added(bench: PipelineBench):
    base, folder = bench.model("base", "As always."), bench.folder / "run"
    samples = await bench.pipeline.choose(base, rows(40))
    await bench.pipeline.prepare(folder, base, samples, TrainingSettings(seed=3), bench.count)
    examples = job.read_examples(folder / job.TRAIN)
    held_out = job.read_examples(folder / job.VALIDATION)
    taught = [example.answer for example in examples if not example.replayed]
    assert sorted(taught + [example.answer for example in held_out]) == sorted(row.answer for row in rows(40))
    assert len(held_out) == len(samples.parts[Part.HELD_OUT]) > 0
    replayed = [example for example in examples if example.replayed]
    assert len(replayed) == samples.replayed == len(taught), "by default, half of the examples are replayed"
    assert {example.answer for example in replayed} == {"As always."}
    assert {example.messages[0]["content"] for example in replayed} == {SYSTEM}
    assert job.Job.read(folder).settings.seed == 3
    assert bench.phases == {job.TrainingPhase.BASE_ANSWERS}


async def test_too_few_rows_cannot_be_trained_on(bench: PipelineBench):
    with pytest.raises(CannotTrain, match="approved samples for training"):
        await bench.pipeline.choose(bench.model("base", "As always."), rows(5))


async def test_candidate_is_evaluated_with_the_system_prompt(bench: PipelineBench):
    async def grade(question: GatePrompt, answer: str) -> float:
        return float(answer == question.wanted)

    models = GateModels(bench.model("base", "As always."), bench.model("candidate", "right"))
    asked = [GatePrompt(str(n), ({"role": "user", "content": f"ask {n}"},), "right") for n in range(8)]
    report = await bench.pipeline.evaluate(models, asked, grade, bench.count)
    assert report.ruling is GateOutcome.PROMOTE
    assert (report.held_out.base, report.held_out.candidate) == (0.0, 1.0)
    systems = [call.messages[0]["content"] for call in bench.server.calls if call.messages[0]["role"] == "system"]
    assert len(systems) == 2 * SETTINGS.control_prompts
    assert set(systems) == {SYSTEM}
