"""What a training process is told, and what it tells: files in the run's folder, which outlive both sides.

job.json        what to do (`Job`)
train.jsonl     one `Example` a line; validation.jsonl the same, never trained on
progress.jsonl  one report a line, appended: phase, step, loss, tokens/s, time left
checkpoints/    from which a killed process goes on
adapter/        PEFT's files, and adapter.gguf; complete when result.json stands there
result.json     metrics, versions of the libraries
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

JOB, TRAIN, VALIDATION = "job.json", "train.jsonl", "validation.jsonl"
PROGRESS, RESULT, CHECKPOINTS, ADAPTER = "progress.jsonl", "result.json", "checkpoints", "adapter"
GGUF = "adapter.gguf"

EXIT_CANCELLED = 75
EXIT_REFUSED = 65
"""The input cannot be trained on, whatever is tried again; the reason stands in the last report."""


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How to train. The defaults were found on the embedded model and a dozen to a hundred examples."""

    seed: int = 7
    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    learning_rate: float = 4e-4
    epochs: float = 4.0
    batch: int = 4
    max_tokens: int = 1024
    """Longest example; longer ones are left out and counted."""
    warmup_share: float = 0.1
    patience: int = 3
    """Evaluations without a better validation loss before it stops."""
    checkpoint_steps: int = 10
    threads: int = 0
    """0 takes what torch takes."""


@dataclass(frozen=True, slots=True)
class Job:
    """One training run."""

    base_name: str
    base_path: str
    """A GGUF file, or a folder in the format of transformers."""
    base_sha256: str
    """Of the GGUF file; of the folder's weights otherwise."""
    base_cache: str
    """Where a GGUF base is kept as transformers reads it, for the next run."""
    settings: TrainingSettings = field(default_factory=TrainingSettings)

    @classmethod
    def read(cls, folder: Path) -> Job:
        raw = json.loads((folder / JOB).read_text())
        return cls(**{**raw, "settings": TrainingSettings(**raw["settings"])})

    def write(self, folder: Path) -> None:
        write_whole(folder / JOB, json.dumps(asdict(self), indent=2))


@dataclass(frozen=True, slots=True)
class Example:
    """What the model is asked, and what it should answer."""

    messages: list[dict[str, str]]
    answer: str
    replayed: bool = False
    """It is the base's own answer: nothing is learned from it, so that nothing else is forgotten."""


def read_examples(path: Path) -> list[Example]:
    return [Example(**json.loads(line)) for line in path.read_text().splitlines() if line]


def write_examples(path: Path, examples: list[Example]) -> None:
    write_whole(path, "".join(json.dumps(asdict(example), ensure_ascii=False) + "\n" for example in examples))


class Progress:
    """Appends reports; a line is written at once and whole, so that a reader never sees half of one."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / PROGRESS

    def report(self, phase: str, **values: Any) -> None:
        line = json.dumps({"at": round(time.time(), 3), "phase": phase, **values}) + "\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)


def read_progress(folder: Path) -> list[Mapping[str, Any]]:
    """All reports so far; a last line without its end is left for the next time."""
    try:
        text = (folder / PROGRESS).read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def write_whole(path: Path, text: str) -> None:
    """The whole text or nothing, also when the disk is full or the process dies."""
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    os.replace(part, path)
