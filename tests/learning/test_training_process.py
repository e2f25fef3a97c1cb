"""The training process under the trainer: cancellation, kills, errors and a full disk."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest

from kairos.config import FineTuningSettings
from kairos.fine_tuning.adapters.adapters import DiskFull
from kairos.fine_tuning.dataset.split import ApprovedSample
from kairos.fine_tuning.training import trainer as trainer_module
from kairos.fine_tuning.training.process.job import CHECKPOINTS, RESULT, read_progress
from kairos.fine_tuning.training.trainer import Trainer, TrainingDied, TrainingFailed
from kairos.llm.catalog.catalog import AdapterHost, Model
from kairos.tenancy import ProjectId
from tests.kit.training import needs_training
from tests.learning.conftest import QUICK

PROJECT = ProjectId(uuid4())
pytestmark = [needs_training, pytest.mark.asyncio, pytest.mark.timeout(180)]


class TrainingRun:
    """A training run on the tiny base model, with the reports of its process."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.trainer = Trainer(FineTuningSettings(), folder)
        self.folder = self.trainer.folder(PROJECT, "run")
        self.base = Model("tiny", "tiny", "http://x/v1", weights=str(base), adapter_host=AdapterHost.EMBEDDED)
        self.received: list[Mapping[str, Any]] = []
        self.actions_by_step: dict[int, Any] = {}

    async def train(self, amount: int = 8):
        """Train on this number of samples: by default 16 steps, with a checkpoint after every second step."""
        prompts = [({"role": "user", "content": f"say {n}"},) for n in range(amount)]
        rows = [ApprovedSample(uuid4(), 1, None, None, messages, f"it is {n}") for n, messages in enumerate(prompts)]
        await self.trainer.prepare(self.folder, self.base, rows, rows[:2], [], QUICK)
        return await self.trainer.train(self.folder, self._receive)

    def process(self) -> psutil.Process:
        children = psutil.Process().children(recursive=True)
        return next(child for child in children if str(self.folder.resolve()) in child.cmdline())

    async def _receive(self, reports: Sequence[Mapping[str, Any]]) -> None:
        self.received += reports
        reached = max((report.get("step") or 0 for report in reports), default=0)
        for step in [step for step in self.actions_by_step if step <= reached]:
            self.actions_by_step.pop(step)()


def steps(reports: Sequence[Mapping[str, Any]]) -> list[int]:
    return [report["step"] for report in reports if report.get("step")]


@pytest.fixture
def run(tmp_path: Path, tiny_base: Path) -> TrainingRun:
    return TrainingRun(tmp_path, tiny_base)


@pytest.mark.timeout(360)  # the process starts three times
async def test_cancelled_and_killed_run_resumes_from_checkpoints_and_makes_one_adapter(
    run: TrainingRun, tmp_path: Path
):
    """The cancelled run stops after the current step. Another trainer resumes it, and its process is killed once."""
    training = asyncio.create_task(run.train())
    run.actions_by_step[2] = training.cancel
    with pytest.raises(asyncio.CancelledError):
        await training
    assert not (run.folder / RESULT).exists()
    assert any((run.folder / CHECKPOINTS).iterdir())
    with pytest.raises(StopIteration):
        run.process()
    last_step = max(steps(read_progress(run.folder)))
    # The resumed run has stored a checkpoint by then.
    run.actions_by_step[last_step + 3] = lambda: run.process().send_signal(signal.SIGKILL)
    run.received.clear()
    second_trainer = Trainer(FineTuningSettings(), tmp_path)
    trained = await second_trainer.train(second_trainer.folder(PROJECT, "run"), run._receive)
    starts = [report for report in run.received if report["phase"] == "training" and "resumed" in report]
    assert [report["resumed"] for report in starts] == [False, True, True]
    _, second, third = (steps(run.received[run.received.index(report) :]) for report in starts)
    assert min(second) > last_step, "steps before the cancellation were repeated"
    assert min(third) > last_step + 1, "steps before the kill were repeated"
    assert trained.metrics["steps"] == 16
    assert [int(folder.name) for folder in trained.candidates] == [8, 10, 12, 14, 16]
    assert all((folder / "adapter.gguf").exists() for folder in trained.candidates)
    assert not list((run.folder / "candidates").glob("*.part"))


async def test_process_starts_once_without_errors(run: TrainingRun):
    trained = await run.train(amount=2)
    assert [report["resumed"] for report in run.received if "resumed" in report] == [False]
    assert (trained.candidates[-1] / "adapter.gguf").exists()


async def test_error_of_the_process_is_raised_without_a_restart(run: TrainingRun):
    run.folder.mkdir(parents=True)
    (run.folder / "job.json").write_text("{")
    with pytest.raises(TrainingFailed, match="JSONDecodeError"):
        await run.trainer.train(run.folder, run._receive)


async def test_number_of_starts_without_progress_is_limited(run: TrainingRun, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trainer_module, "MAX_STARTS", 2)
    command = trainer_module._command
    killed = ["/bin/sh", "-c", "kill -9 $$"]
    monkeypatch.setattr(trainer_module, "_command", lambda folder: replace(command(folder), program=tuple(killed)))
    run.folder.mkdir(parents=True)
    with pytest.raises(TrainingDied, match="killed 2 times"):
        await run.trainer.train(run.folder, run._receive)


async def test_full_disk_raises_an_error_and_leaves_no_adapter(run: TrainingRun, tmp_path: Path):
    """The folder of the run is on a file system of 600 kB."""
    if not mount_small_disk(tmp_path):
        pytest.skip("only root can mount a small file system here")
    try:
        with pytest.raises(DiskFull, match="full"):
            await run.train()
        assert not (run.folder / RESULT).exists()
    finally:
        await asyncio.to_thread(subprocess.run, ["umount", "-l", tmp_path], check=True)


def mount_small_disk(folder: Path) -> bool:
    """Mount a file system of 600 kB on the folder. Return whether this succeeded."""
    command = ["mount", "-t", "tmpfs", "-o", "size=600k", "none", str(folder)]
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0
