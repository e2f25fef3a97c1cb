"""The training process as the trainer runs it: real kills, a real stop, a disk without room."""

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
from tests.learning.conftest import QUICK

pytest.importorskip("trl", reason="needs `make train`")

PROJECT = ProjectId(uuid4())
pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(180)]


class Run:
    """One run on the tiny base, and what its process told."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.trainer = Trainer(FineTuningSettings(), folder)
        self.folder = self.trainer.folder(PROJECT, "run")
        self.base = Model("tiny", "tiny", "http://x/v1", weights=str(base), adapter_host=AdapterHost.EMBEDDED)
        self.heard: list[Mapping[str, Any]] = []
        self.at_step: dict[int, Any] = {}

    async def train(self, amount: int = 8):
        """By default 16 steps with a checkpoint after every second."""
        prompts = [({"role": "user", "content": f"say {n}"},) for n in range(amount)]
        rows = [ApprovedSample(uuid4(), 1, None, None, messages, f"it is {n}") for n, messages in enumerate(prompts)]
        await self.trainer.prepare(self.folder, self.base, rows, rows[:2], [], QUICK)
        return await self.trainer.train(self.folder, self._hear)

    def process(self) -> psutil.Process:
        mine = psutil.Process().children(recursive=True)
        return next(one for one in mine if str(self.folder.resolve()) in one.cmdline())

    async def _hear(self, reports: Sequence[Mapping[str, Any]]) -> None:
        self.heard += reports
        reached = max((report.get("step") or 0 for report in reports), default=0)
        for step in [step for step in self.at_step if step <= reached]:
            self.at_step.pop(step)()


def steps(reports: Sequence[Mapping[str, Any]]) -> list[int]:
    return [report["step"] for report in reports if report.get("step")]


@pytest.fixture
def run(tmp_path: Path, tiny_base: Path) -> Run:
    return Run(tmp_path, tiny_base)


@pytest.mark.timeout(360)  # three starts of a process
async def test_cancelled_and_then_killed_it_goes_on_from_its_checkpoints_and_makes_one_adapter(
    run: Run, tmp_path: Path
):
    """Cancelled, it stops after its step; another daemon goes on, whose process is killed half-way."""
    training = asyncio.create_task(run.train())
    run.at_step[2] = training.cancel
    with pytest.raises(asyncio.CancelledError):
        await training
    assert not (run.folder / RESULT).exists()
    assert any((run.folder / CHECKPOINTS).iterdir())
    with pytest.raises(StopIteration):
        run.process()
    stopped = max(steps(read_progress(run.folder)))
    # By then it has made a checkpoint of its own.
    run.at_step[stopped + 3] = lambda: run.process().send_signal(signal.SIGKILL)
    run.heard.clear()
    again = Trainer(FineTuningSettings(), tmp_path)
    trained = await again.train(again.folder(PROJECT, "run"), run._hear)
    begun = [report for report in run.heard if report["phase"] == "training" and "resumed" in report]
    assert [report["resumed"] for report in begun] == [False, True, True]
    _, second, third = (steps(run.heard[run.heard.index(report) :]) for report in begun)
    assert min(second) > stopped, "what was done before the stop is not done again"
    assert min(third) > stopped + 1, "what was done before the kill is not done again"
    assert trained.metrics["steps"] == 16
    assert (trained.adapter / "adapter.gguf").exists()
    assert not (run.folder / "adapter.part").exists()


async def test_undisturbed_it_runs_once(run: Run):
    trained = await run.train(amount=2)
    assert [report["resumed"] for report in run.heard if "resumed" in report] == [False]
    assert (trained.adapter / "adapter.gguf").exists()


async def test_an_error_of_its_own_is_said_at_once(run: Run):
    run.folder.mkdir(parents=True)
    (run.folder / "job.json").write_text("{")
    with pytest.raises(TrainingFailed, match="JSONDecodeError"):
        await run.trainer.train(run.folder, run._hear)


async def test_a_process_that_is_killed_at_its_beginning_is_not_started_for_ever(
    run: Run, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(trainer_module, "MAX_STARTS", 2)
    command = trainer_module._command
    killed = ["/bin/sh", "-c", "kill -9 $$"]
    monkeypatch.setattr(trainer_module, "_command", lambda folder: replace(command(folder), program=tuple(killed)))
    run.folder.mkdir(parents=True)
    with pytest.raises(TrainingDied, match="killed 2 times"):
        await run.trainer.train(run.folder, run._hear)


async def test_a_disk_that_is_full_is_said_and_leaves_no_adapter(run: Run, tmp_path: Path):
    """A file system of half a megabyte: the base fits nowhere else, so only the run's folder is on it."""
    if not small_disk(tmp_path):
        pytest.skip("only root can mount a small file system here")
    try:
        with pytest.raises(DiskFull, match="full"):
            await run.train()
        assert not (run.folder / RESULT).exists()
        assert not (run.folder / "adapter").exists()
    finally:
        await asyncio.to_thread(subprocess.run, ["umount", "-l", tmp_path], check=True)


def small_disk(folder: Path) -> bool:
    """Whether the folder is one now."""
    command = ["mount", "-t", "tmpfs", "-o", "size=600k", "none", str(folder)]
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0
