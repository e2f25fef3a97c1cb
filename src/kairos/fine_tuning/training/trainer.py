"""Prepares training runs, and starts, follows and restarts the training process.

The run's folder contains its whole state (`training/process/job.py`), so that a run resumes after a crash of the
process, the daemon or the machine.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import random
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any

import orjson
import psutil

from kairos.config import FineTuningSettings
from kairos.embedded.process import Command, OwnedProcess
from kairos.errors import KairosError
from kairos.fine_tuning.adapters.adapters import DiskFull, runs_of, sha256_of
from kairos.fine_tuning.dataset.split import ApprovedSample, Part, split
from kairos.fine_tuning.training.process import job as files
from kairos.fine_tuning.training.process.job import Example, Job, TrainingSettings
from kairos.installation import command_for
from kairos.llm.catalog.catalog import Model
from kairos.tenancy import ProjectId

log = logging.getLogger(__name__)

MAX_STARTS = 4
"""Maximum consecutive starts without a training step."""
RESTARTABLE = {files.EXIT_CANCELLED, *range(-64, 0)}
"""Exit statuses after which the process is restarted. Other failures would recur."""
PAUSES_S = (0.2, 1.0)
DISK_FULL_BYTES = 2**20
POLL_S = 0.3
GPU_LIMIT_S = 5.0
LIBRARIES = ("torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate", "datasets", "gguf")
LIBRARIES_BYTES = 1536 * 2**20
"""Memory of the libraries before a model is loaded."""
GGUF_FACTOR, GGUF_DISK_FACTOR = 14, 9
"""Multiples of the size of a 4-bit file for training on a CPU: float32 weights while loading, and the optimiser."""
FOLDER_FACTOR = 1.5
ADAPTER_BYTES = 256 * 2**20
"""Checkpoints and candidates."""


class CannotTrain(KairosError):
    """The model {base} cannot be trained on the project's samples now: {reasons}."""

    status, code, exit_code = 409, "cannot_train", 5


class TrainingRefused(KairosError):
    """The training cannot run: {reason}."""

    status, code, exit_code = 422, "training_refused", 5


class TrainingDied(KairosError):
    """The training process was killed {times} times without a step (exit status {status_}). Log: {log_tail}"""

    status, code, exit_code = 500, "training_died", 5


class TrainingFailed(KairosError):
    """The training process failed. Log: {log_tail}"""

    status, code, exit_code = 500, "training_failed", 5


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """The samples and resources of a run. It can start if there are no problems."""

    base: str
    rows: int
    """Approved samples, without those that seem to contain secrets."""
    training: int
    selection: int
    """Samples that choose among the candidates of the training."""
    held_out: int
    replayed: int
    """Number of control prompts with the base's answers among the examples."""
    memory_needed: int
    """Estimated bytes, of the GPU if there is one."""
    memory_free: int
    disk_needed: int
    disk_free: int
    device: str
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gpu:
    """The first GPU of this machine."""

    name: str
    memory_free: int


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """The result of a run."""

    candidates: tuple[Path, ...]
    """Folders of the adapters to choose from, by step."""
    metrics: Mapping[str, Any]
    versions: Mapping[str, str]


OnReport = Callable[[Sequence[Mapping[str, Any]]], Awaitable[None]]
"""Receives new reports of the process, oldest first."""


class Trainer:
    """Trains adapters, with runs in subfolders of the models folder."""

    def __init__(self, settings: FineTuningSettings, folder: Path) -> None:
        self._settings = settings
        self._models = folder

    @property
    def held_out_share(self) -> float:
        return self._settings.held_out_share

    def folder(self, project_id: ProjectId, run_id: object) -> Path:
        """Return the folder of a run. Its examples and checkpoints contain the project's prompts."""
        return runs_of(self._models, project_id) / str(run_id)

    async def plan(self, base: Model, rows: Sequence[ApprovedSample]) -> TrainingPlan:
        """Check rows, libraries, memory, disk and GPU before a run."""
        parts = await asyncio.to_thread(split, rows, self._settings.held_out_share)
        gpu = await find_gpu()
        size = await asyncio.to_thread(_size, base.weights)
        memory, disk = _required_bytes(base.weights, size, on_gpu=gpu is not None)
        free = gpu.memory_free if gpu else psutil.virtual_memory().available
        existing = next(path for path in (self._models, *self._models.parents) if path.exists())
        disk_free = shutil.disk_usage(existing).free
        training = len(parts[Part.TRAINING])
        problems = [
            *_missing_requirements(base, size),
            *([] if training >= self._settings.fewest_rows else [self._too_few(training)]),
            *([] if free >= memory else [f"it needs about {_mb(memory)} of memory, {_mb(free)} are free"]),
            *([] if disk_free >= disk else [f"it needs about {_mb(disk)} of disk, {_mb(disk_free)} are free"]),
        ]
        return TrainingPlan(
            base=base.name,
            rows=len(rows),
            training=training,
            selection=len(parts[Part.SELECTION]),
            held_out=len(parts[Part.HELD_OUT]),
            replayed=replays(training, self._settings.replay_share),
            memory_needed=memory,
            memory_free=free,
            disk_needed=disk,
            disk_free=disk_free,
            device=gpu.name if gpu else "CPU",
            problems=tuple(problems),
        )

    async def prepare(
        self,
        folder: Path,
        base: Model,
        training: Sequence[ApprovedSample],
        selection: Sequence[ApprovedSample],
        replayed: Sequence[Example],
        settings: TrainingSettings,
    ) -> Job:
        """Write the input of the training process. A prepared folder is unchanged, as a run keeps its rows.

        Raises `DiskFull`.
        """
        return await asyncio.to_thread(self._prepare, folder, base, training, selection, replayed, settings)

    def _prepare(
        self,
        folder: Path,
        base: Model,
        training: Sequence[ApprovedSample],
        selection: Sequence[ApprovedSample],
        replayed: Sequence[Example],
        settings: TrainingSettings,
    ) -> Job:
        assert base.weights is not None
        if (folder / files.JOB).exists():
            return Job.read(folder)
        job = Job(
            base_name=base.name,
            base_path=base.weights,
            base_sha256=hash_of_weights(Path(base.weights)),
            base_cache=str(self._models / "bases"),
            settings=settings,
        )
        examples = [*map(_example, training), *replayed]
        random.Random(settings.seed).shuffle(examples)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            files.write_examples(folder / files.TRAIN, examples)
            files.write_examples(folder / files.VALIDATION, [_example(row) for row in selection])
            job.write(folder)  # last: it marks the folder as prepared
        except OSError as error:
            raise _disk_error(error, folder) from error
        return job

    async def train(self, folder: Path, on_report: OnReport) -> TrainingResult:
        """Run the training process to completion, and restart it from its last checkpoint if it is killed.

        On cancellation, the process stops after the current step. Raises `TrainingRefused`, `TrainingFailed`,
        `TrainingDied`, `DiskFull`.
        """
        seen, idle = 0, 0
        while not (folder / files.RESULT).exists():
            process = OwnedProcess(_command(folder))
            try:
                async for reports in _follow(process, folder, seen):
                    seen += len(reports)
                    idle = 0 if any(report.get("step") for report in reports) else idle
                    await on_report(reports)
            finally:
                await process.stop()
            if (folder / files.RESULT).exists():
                break
            if process.exit_status == files.EXIT_REFUSED:
                raise _refusal(folder)
            if (
                shutil.disk_usage(folder).free < DISK_FULL_BYTES
            ):  # some libraries do not report it, and it cannot be logged
                raise DiskFull(folder=folder)
            if process.exit_status not in RESTARTABLE:
                raise TrainingFailed(log_tail=process.log_tail() or "none")
            idle += 1
            if idle >= MAX_STARTS:
                raise TrainingDied(times=idle, status_=process.exit_status, log_tail=process.log_tail() or "none")
            log.warning("the training process in %s ended with %s and is restarted", folder, process.exit_status)
            await asyncio.sleep(random.uniform(*PAUSES_S))
        result = orjson.loads((folder / files.RESULT).read_bytes())
        candidates = tuple(files.candidate_folders(folder))
        return TrainingResult(candidates, result["metrics"], result["versions"])

    def discard(self, folder: Path) -> None:
        """Delete the folder of an ended run, with examples and checkpoints that contain the project's prompts."""
        shutil.rmtree(folder, ignore_errors=True)

    def _too_few(self, training: int) -> str:
        return (
            f"{training} approved samples for training, but at least {self._settings.fewest_rows} are needed"
            " (held-out samples do not count)"
        )


def replays(training: int, share: float) -> int:
    """Return the number of control prompts that make up the share of all examples."""
    return round(training * share / (1 - share))


def hash_of_weights(path: Path) -> str:
    """Return the SHA-256 of a GGUF file, or of the sorted hashes of a folder's weight files, one per line."""
    if path.is_file():
        return sha256_of(path)
    hashes = [sha256_of(file) for file in sorted(path.glob("*.safetensors"))]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


async def find_gpu() -> Gpu | None:
    """Return the first GPU, from nvidia-smi. Importing PyTorch would cost the daemon a gigabyte."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    query = ("--query-gpu=name,memory.free", "--format=csv,noheader,nounits")
    try:
        process = await asyncio.create_subprocess_exec(
            tool, *query, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(GPU_LIMIT_S):
            out, _ = await process.communicate()
    except (OSError, TimeoutError):
        return None
    name, _, free = out.decode(errors="replace").partition("\n")[0].rpartition(",")
    return Gpu(name.strip(), int(free) * 2**20) if free.strip().isdigit() else None


async def _follow(process: OwnedProcess, folder: Path, seen: int) -> AsyncIterator[list[Mapping[str, Any]]]:
    """Yield new reports until the process has ended and all are read."""
    ended = False
    while not ended:
        ended = await process.ends_within(POLL_S)
        reports = await asyncio.to_thread(files.read_progress, folder)
        if fresh := reports[seen:]:
            seen += len(fresh)
            yield fresh


def _command(folder: Path) -> Command:
    program = (sys.executable, "-P", "-m", "kairos.fine_tuning.training.process", str(folder.resolve()))
    return Command(program, folder.resolve(), folder / "training.log")


def _refusal(folder: Path) -> KairosError:
    reports = files.read_progress(folder)
    reason = str(reports[-1].get("error", "no reason was given")) if reports else "no reason was given"
    return DiskFull(folder=folder) if "disk is full" in reason else TrainingRefused(reason=reason)


def _disk_error(error: OSError, folder: Path) -> KairosError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(folder=folder)
    return TrainingRefused(reason=f"{folder} cannot be written: {error.strerror}")


def _missing_requirements(base: Model, size: int | None) -> list[str]:
    problems = []
    if base.weights is None:
        problems.append(f"the entry of {base.name} in kairos.toml has no `weights` to train on")
    elif size is None:
        problems.append(f"its weights were not found at {base.weights}")
    if missing := [name for name in LIBRARIES if util.find_spec(name) is None]:
        problems.append(f"{', '.join(missing)} are not installed; run {command_for('train')}")
    return problems


def _size(weights: str | None) -> int | None:
    """Return the size of a file or of a folder's weights in bytes; None if missing."""
    if weights is None:
        return None
    path = Path(weights)
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.glob("*.safetensors")) or None


def _required_bytes(weights: str | None, size: int | None, *, on_gpu: bool) -> tuple[int, int]:
    """Return conservative estimates of required memory and disk space, in bytes."""
    is_file = weights is not None and Path(weights).is_file()
    size = size or 0
    if on_gpu:
        return LIBRARIES_BYTES + (4 * size if is_file else size), ADAPTER_BYTES + (GGUF_DISK_FACTOR * size * is_file)
    factor = GGUF_FACTOR if is_file else FOLDER_FACTOR * 2
    return LIBRARIES_BYTES + int(factor * size), ADAPTER_BYTES + (GGUF_DISK_FACTOR * size if is_file else 0)


def _example(row: ApprovedSample) -> Example:
    return Example([{"role": str(m["role"]), "content": str(m["content"])} for m in row.messages], row.answer)


def _mb(size: int) -> str:
    return f"{size / 2**20:,.0f} MB"
