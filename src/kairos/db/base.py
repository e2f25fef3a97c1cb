"""The declarative base of all tables with its type mapping, and the enums stored in columns."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import BigInteger, LargeBinary, Text, text
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase

NOW = text("now()")


class TaskState(StrEnum):
    """State of a task. `rejected`: by the guardian; `failed`: with an error that is not retryable; `dead`: all attempts
    are used up."""

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
    """State of a dataset row. Only `approved` rows are trained on; `held_out` rows are reserved for the gate."""

    OPEN = "open"
    CORRECTED = "corrected"
    APPROVED = "approved"
    REJECTED = "rejected"
    HELD_OUT = "held_out"


class RunState(StrEnum):
    """State of a training run as its worker wrote it. Cancellation and failure may be recorded on its task only."""

    WAITING = "waiting"
    TRAINING = "training"
    EVALUATING = "evaluating"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class AdapterState(StrEnum):
    """State of an adapter. `canary` and `live` are in service; a base has at most one of each."""

    CANDIDATE = "candidate"
    NEEDS_APPROVAL = "needs_approval"
    CANARY = "canary"
    LIVE = "live"
    RETIRED = "retired"
    REFUSED = "refused"
    DELETED = "deleted"


class Role(StrEnum):
    """Role of a member in a project, in descending order of permissions."""

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
