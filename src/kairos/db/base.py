"""What all tables share: the mapping of types, and the words that columns hold."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import BigInteger, LargeBinary, Text, text
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase

NOW = text("now()")


class TaskState(StrEnum):
    """Where a task stands. `rejected` is the guardian's last word, `failed` an error that another try cannot mend,
    `dead` means that all attempts are spent."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    REJECTED = "rejected"
    FAILED = "failed"
    DEAD = "dead"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self not in (TaskState.QUEUED, TaskState.RUNNING)


class SampleState(StrEnum):
    """Where a row of the dataset stands. Only `approved` is trained on; `held_out` is kept for the gate alone."""

    OPEN = "open"
    CORRECTED = "corrected"
    APPROVED = "approved"
    REJECTED = "rejected"
    HELD_OUT = "held_out"


class RunState(StrEnum):
    """How far a training run has come. Whether it was stopped or given up stands at its task."""

    WAITING = "waiting"
    TRAINING = "training"
    EVALUATING = "evaluating"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class AdapterState(StrEnum):
    """Where an adapter stands. `canary` and `live` are in service; one base has at most one of each."""

    CANDIDATE = "candidate"
    NEEDS_APPROVAL = "needs_approval"
    CANARY = "canary"
    LIVE = "live"
    RETIRED = "retired"
    REFUSED = "refused"
    DELETED = "deleted"


class Role(StrEnum):
    """What a member may do in a project, from most to least."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    VIEWER = "viewer"


class Base(DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        datetime: TIMESTAMP(timezone=True),
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
        int: BigInteger,
        bytes: LargeBinary,
    }
