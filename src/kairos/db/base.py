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


class EventKind(StrEnum):
    """Kind of a task event. The first seven are the states of the task."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    REJECTED = "rejected"
    FAILED = "failed"
    DEAD = "dead"
    CANCELLED = "cancelled"
    CANCEL_REQUESTED = "cancel_requested"
    DRAFTING = "drafting"
    DECISION = "decision"
    """The router chose a model."""
    MODEL_FAILED = "model_failed"
    CACHE_HIT = "cache_hit"
    ATTEMPT_REJECTED = "attempt_rejected"
    """The guardian rejected a draft, and another one follows."""
    VERDICT = "verdict"
    JUDGED = "judged"
    NOT_JUDGED = "not_judged"
    LABELLED = "labelled"
    TRAINING = "training"
    TRAINED = "trained"
    EVALUATING = "evaluating"
    RULED = "ruled"
    OTHER = "other"
    """A kind that a newer daemon wrote."""

    @classmethod
    def _missing_(cls, value: object) -> EventKind:
        """Read an unknown kind as `other`: during an upgrade, daemons of two versions share the table."""
        return cls.OTHER


class SampleSource(StrEnum):
    """The origin of a dataset row."""

    GUARDIAN = "guardian"
    FAILURE = "failure"
    PERSON = "person"
    IMPORT = "import"


class DaemonRole(StrEnum):
    """The work of a daemon: everything, only the API, only tasks, or only trainings."""

    ALL = "all"
    API = "api"
    WORKER = "worker"
    TRAINER = "trainer"


class AuditAction(StrEnum):
    """Action recorded in the audit log."""

    ACCESS_REFUSED = "access.refused"
    ADAPTER_DELETED = "adapter.deleted"
    ADAPTER_PROMOTED = "adapter.promoted"
    ADAPTER_REFUSED = "adapter.refused"
    ADAPTER_ROLLED_BACK = "adapter.rolled_back"
    ADAPTER_RULED = "adapter.ruled"
    CONFIG_CHANGED = "config.changed"
    DATASET_CLEARED = "dataset.cleared"
    DATASET_ERASED = "dataset.erased"
    DATASET_IMPORTED = "dataset.imported"
    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
    MASTER_KEY_ROTATED = "master_key.rotated"
    MEMBER_INVITATION_REVOKED = "member.invitation_revoked"
    MEMBER_INVITED = "member.invited"
    MEMBER_JOINED = "member.joined"
    MEMBER_LEFT = "member.left"
    MEMBER_REMOVED = "member.removed"
    MEMBER_ROLE_CHANGED = "member.role_changed"
    PASSWORD_CHANGED = "password.changed"
    PASSWORD_RESET_LINK = "password.reset_link"
    PASSWORD_SET = "password.set"
    PROJECT_ARCHIVED = "project.archived"
    PROJECT_CHANGED = "project.changed"
    PROJECT_CREATED = "project.created"
    PROJECT_DELETED = "project.deleted"
    PROJECT_ERASED = "project.erased"
    PROJECT_EXPORTED = "project.exported"
    PROJECT_RESTORED = "project.restored"
    PROVIDER_CHANGED = "provider.changed"
    PROVIDER_CREATED = "provider.created"
    PROVIDER_DELETED = "provider.deleted"
    PROVIDER_MODEL_ADDED = "provider.model_added"
    PROVIDER_MODEL_CHANGED = "provider.model_changed"
    PROVIDER_MODEL_REMOVED = "provider.model_removed"
    PROVIDER_MODEL_UNINSTALLED = "provider.model_uninstalled"
    PROVIDER_PULL_STARTED = "provider.pull_started"
    SESSION_TOKEN_REUSED = "session.token_reused"
    SIGN_IN = "sign_in"
    SIGN_IN_REFUSED = "sign_in.refused"
    SIGN_OUT = "sign_out"
    SIGN_OUT_EVERYWHERE = "sign_out.everywhere"
    SIGNING_KEY_ROTATED = "signing_key.rotated"
    TRAINING_STARTED = "training.started"
    USER_CHANGED = "user.changed"
    USER_CREATED = "user.created"
    OTHER = "other"
    """An action that another version of Kairos recorded."""

    @classmethod
    def _missing_(cls, value: object) -> AuditAction:
        """Read an unknown action as `other`, because the log is kept for longer than a version."""
        return cls.OTHER


class Base(DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        datetime: TIMESTAMP(timezone=True),
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
        int: BigInteger,
        bytes: LargeBinary,
    }
