"""A case of `benchmarks/learning_rules` with scripted models; only the training itself is left out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks import learning_run
from benchmarks.learning_bench import AnswerFile, messages
from benchmarks.learning_rules import case_run
from benchmarks.learning_rules.case_run import CaseRunner
from benchmarks.learning_rules.results import Case, Shares
from kairos.config import FineTuningSettings
from kairos.fine_tuning.adapters.llama_cpp import OneOffModels
from kairos.fine_tuning.adapters.model_copies import ModelCopies
from kairos.fine_tuning.training.process import job
from kairos.fine_tuning.training.trainer import Trainer, TrainingResult
from kairos.http import HttpClient
from kairos.llm.calls.providers import Providers
from kairos.llm.catalog.catalog import Model
from tests.kit.model_server import ModelServer, ScriptedModel

FOLDERS: list[Path] = []
SETTINGS: list[job.TrainingSettings] = []


async def prepare(self: Trainer, folder: Path, *arguments: Any) -> None:
    SETTINGS.append(arguments[-1])


async def train_nothing(self: Trainer, folder: Path, on_report: object) -> TrainingResult:
    FOLDERS.append(folder)
    candidate = folder / job.CANDIDATES / "10"
    candidate.mkdir(parents=True)
    (candidate / job.GGUF).write_bytes(b"GGUF")
    return TrainingResult((candidate,), {"steps": 10}, {})


@dataclass(frozen=True)
class Served:
    """The scripted models in place of a base and an adapter."""

    address: str

    @property
    def plain(self) -> ModelCopies:
        return ModelCopies.only(Model("base", "base", self.address, local=True))

    def adapted(self, number: int, strength: float = 1.0) -> ModelCopies:
        return ModelCopies.only(Model("adapter", "adapter", self.address, local=True))


async def test_case_is_trained_gated_and_measured_outside_the_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (given := tmp_path / "tiny.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(case_run, "check_weights", lambda: given)
    monkeypatch.setattr(learning_run, "check_weights", lambda: given)
    monkeypatch.setattr(Trainer, "prepare", prepare)
    monkeypatch.setattr(Trainer, "train", train_nothing)
    async with ModelServer() as server, HttpClient() as http:
        server.add(ScriptedModel("base", answer="I do not know."))
        server.add(ScriptedModel("adapter", answer="FIN-2"))

        class Scripted(OneOffModels):
            @asynccontextmanager
            async def __call__(self, weights: Path, adapters: Sequence[Path]) -> AsyncIterator[Any]:
                assert weights == given
                yield Served(server.base_url)

        monkeypatch.setattr(case_run, "OneOffModels", Scripted)
        answers = AnswerFile(tmp_path / "answers.jsonl")
        runner = CaseRunner(tmp_path, Providers(http), answers, FineTuningSettings(control_prompts=8, tries=1))
        result = await runner.run(Case("ticket_queue", 2, 24), "default", "abc1234")
        again = len(server.calls)
        await runner.run(Case("ticket_queue", 2, 24), "default", "abc1234")
    assert result.training + result.held_out_rows == 24
    assert result.new_tasks == result.new_tasks_plain
    assert result.new_tasks.base == 0
    assert 0 < (result.new_tasks.adapter or 0) < 1, "a quarter of the tickets belongs to FIN-2"
    assert result.fresh == result.fresh_plain == Shares(0, 0)
    assert SETTINGS[0].seed == 7 + 2
    assert not FOLDERS[0].exists(), "the folder of a run is discarded"
    assert len(server.calls) - again == again - 2 * (20 + 99), "the base is not asked again outside the gate"
    assert answers.get(AnswerFile.key(case_run.SHA256, messages("What colour is coal?"), 64)) == "I do not know."
