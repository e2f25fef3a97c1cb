"""The lanes of the queue."""

from __future__ import annotations

from enum import StrEnum


class Lane(StrEnum):
    """`interactive` has slots of its own that are never lent, `train` runs in trainer daemons, the rest is `batch`."""

    INTERACTIVE = "interactive"
    BATCH = "batch"
    TRAIN = "train"
