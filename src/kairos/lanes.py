"""The lanes of the queue."""

from __future__ import annotations

from enum import StrEnum


class Lane(StrEnum):
    """`interactive` has slots that only it uses, `train` runs on trainer daemons, `batch` is everything else."""

    INTERACTIVE = "interactive"
    BATCH = "batch"
    TRAIN = "train"
