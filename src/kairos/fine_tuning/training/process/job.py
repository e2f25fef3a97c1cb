"""The files that daemon and training process exchange, in the run's folder.

job.json        the job (`Job`)
train.jsonl     one `Example` per line; validation.jsonl likewise, not trained on
progress.jsonl  one report per line, appended: phase, step, loss, tokens/s, remaining time
checkpoints/    from which a restarted process resumes
candidates/     the adapter after some of the steps, in folders named by the step: PEFT's files and adapter.gguf
result.json     metrics, versions of the libraries; the candidates are complete if it exists
adapter/        the chosen candidate (written by the daemon)
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

JOB, TRAIN, VALIDATION = "job.json", "train.jsonl", "validation.jsonl"
PROGRESS, RESULT, CHECKPOINTS, ADAPTER = "progress.jsonl", "result.json", "checkpoints", "adapter"
CANDIDATES = "candidates"
GGUF = "adapter.gguf"
BASE_CONFIG = "base_config.json"

EXIT_CANCELLED = 75
EXIT_REFUSED = 65
"""Permanent failure; the last report has the reason."""


class TrainingPhase(StrEnum):
    """Phase of a run: of the training process, or the set of prompts that is being answered."""

    BASE_ANSWERS = "base answers"
    LOADING = "loading"
    TRAINING = "training"
    SAVING = "saving"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"
    SELECTION = "selection"
    HELD_OUT_ROWS = "held-out rows"
    CONTROL_PROMPTS = "control prompts"


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Hyperparameters. The defaults were tuned on the embedded model with a dozen to a hundred examples."""

    seed: int = 7
    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    learning_rate: float = 4e-4
    epochs: float = 4.0
    batch: int = 4
    max_tokens: int = 1024
    """Maximum tokens of an example; longer ones are left out and counted."""
    warmup_share: float = 0.1
    patience: int = 3
    """Evaluations without a better validation loss, or with every token right, before early stopping."""
    candidates: int = 5
    """Most adapters of one training to choose from, from its second half."""
    checkpoint_steps: int = 10
    threads: int = 0
    """0 uses the default of PyTorch."""


@dataclass(frozen=True, slots=True)
class Job:
    """The input of a training run."""

    base_name: str
    base_path: str
    """A GGUF file, or a folder in the format of transformers."""
    base_sha256: str
    """SHA-256 of the GGUF file or of the folder's weights."""
    base_cache: str
    """Folder that caches GGUF bases converted to transformers' format."""
    settings: TrainingSettings = field(default_factory=TrainingSettings)

    @classmethod
    def read(cls, folder: Path) -> Job:
        raw = json.loads((folder / JOB).read_text())
        return cls(**{**raw, "settings": TrainingSettings(**raw["settings"])})

    def write(self, folder: Path) -> None:
        write_whole(folder / JOB, json.dumps(asdict(self), indent=2))


@dataclass(frozen=True, slots=True)
class Example:
    """A training example: prompt and answer."""

    messages: list[dict[str, str]]
    answer: str
    replayed: bool = False
    """Whether it is the base's own answer, used to preserve general ability."""


def read_examples(path: Path) -> list[Example]:
    return [Example(**json.loads(line)) for line in path.read_text().splitlines() if line]


def write_examples(path: Path, examples: list[Example]) -> None:
    write_whole(path, "".join(json.dumps(asdict(example), ensure_ascii=False) + "\n" for example in examples))


class Progress:
    """Appends reports. Each line is written atomically."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / PROGRESS

    def report(self, phase: TrainingPhase, **values: Any) -> None:
        line = json.dumps({"at": round(time.time(), 3), "phase": phase, **values}) + "\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)


def read_progress(folder: Path) -> list[Mapping[str, Any]]:
    """Return all complete reports so far."""
    try:
        text = (folder / PROGRESS).read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def candidate_folders(folder: Path) -> list[Path]:
    """Return the folders of the complete candidates, in the order of their steps."""
    return sorted((path for path in (folder / CANDIDATES).glob("*") if path.name.isdigit()), key=lambda p: int(p.name))


def write_whole(path: Path, text: str) -> None:
    """Write a file atomically."""
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    os.replace(part, path)
