"""The tables, as SQLAlchemy sees them. Policies, roles and functions stand in the migrations.

Project-owned tables carry `project_id` first in every key, because row-level security hides rows but not the errors of
unique and foreign keys (`docs/decisions/0003-tenancy.md`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, REAL
from sqlalchemy.orm import Mapped, mapped_column

from kairos.db.account_models import (
    AuditRow,
    ConfigRow,
    LinkRow,
    MembershipRow,
    ProjectRow,
    ReplicaRow,
    SessionRow,
    SigningKeyRow,
    TicketRow,
    UserRow,
)
from kairos.db.base import NOW, AdapterState, Base, Role, RunState, SampleState, TaskState
from kairos.db.learning_models import AdapterRow, AdapterSampleRow, DatasetImportRow, SampleRow, TrainingRunRow


class InvitationRow(Base):
    __tablename__ = "invitations"
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    token_hash: Mapped[bytes]
    email: Mapped[str | None]
    """Lower case. None: whoever has the link."""
    role: Mapped[str]
    created_by: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime]
    accepted_at: Mapped[datetime | None]
    accepted_by: Mapped[UUID | None]
    revoked_at: Mapped[datetime | None]
    __table_args__ = (
        UniqueConstraint("project_id", "token_hash"),
        CheckConstraint("role in ('owner', 'admin', 'member', 'viewer')", name="invitations_role"),
        Index("invitations_token", "token_hash"),
    )


class ApiKeyRow(Base):
    __tablename__ = "api_keys"
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    prefix: Mapped[str]
    """The part of the key that is shown; looked up by it."""
    key_hash: Mapped[bytes]
    """HMAC-SHA-256 of the whole key."""
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_by: Mapped[UUID]
    """The key can never do more than this member may."""
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    __table_args__ = (Index("api_keys_prefix", "prefix"),)


class TaskRow(Base):
    __tablename__ = "tasks"
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    prompt: Mapped[str]
    agent: Mapped[str]
    task_type: Mapped[str | None]
    checks: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    options: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    """model, system, temperature, max_tokens, session: what the caller asked of the call."""
    state: Mapped[str] = mapped_column(server_default=text("'queued'"))
    lane: Mapped[str]
    priority: Mapped[int] = mapped_column(server_default=text("0"))
    not_before: Mapped[datetime] = mapped_column(server_default=NOW)
    timeout_s: Mapped[float]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    max_attempts: Mapped[int]
    epoch: Mapped[int] = mapped_column(server_default=text("0"))
    """Fencing token: raised by every claim; a write with an older one finds no row."""
    owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    cancel_requested: Mapped[bool] = mapped_column(server_default=text("false"))
    idempotency_key: Mapped[str | None]
    request_hash: Mapped[bytes | None]
    """Of the submitted body: the same idempotency key with another body is a conflict."""
    traceparent: Mapped[str | None]
    created_by: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    output: Mapped[str | None]
    model: Mapped[str | None]
    decision_id: Mapped[UUID | None]
    error: Mapped[dict[str, Any] | None]
    """code, message and remedy of the last failure."""
    __table_args__ = (
        CheckConstraint(
            "state in ('queued','running','succeeded','rejected','failed','dead','cancelled')", name="tasks_state"
        ),
        Index(
            "tasks_idempotency",
            "project_id",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key is not null"),
        ),
        Index("tasks_project_state", "project_id", "state", "id"),
        Index("tasks_queued", "id", postgresql_where=text("state = 'queued'")),
        Index("tasks_leases", "lease_until", postgresql_where=text("state = 'running'")),
    )


class TaskEventRow(Base):
    __tablename__ = "task_events"
    project_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    task_id: Mapped[UUID]
    attempt: Mapped[int]
    kind: Mapped[str]
    data: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    xact: Mapped[int] = mapped_column(server_default=text("(pg_current_xact_id()::text::bigint)"))
    """The transaction that wrote it. Ids are given before their transactions end, so a reader that follows ids alone
    can pass one by; in the order (xact, id), below the oldest transaction still running, nothing comes in late."""
    __table_args__ = (
        ForeignKeyConstraint(["project_id", "task_id"], ["tasks.project_id", "tasks.id"], ondelete="CASCADE"),
        Index("task_events_task", "project_id", "task_id", "id"),
        Index("task_events_order", "project_id", "xact", "id"),
    )


class LabelRow(Base):
    """What a person said of a task's answer; the last word, and the one the router keeps."""

    __tablename__ = "task_labels"
    project_id: Mapped[UUID] = mapped_column(primary_key=True)
    task_id: Mapped[UUID] = mapped_column(primary_key=True)
    label: Mapped[str]
    """`accept`, `edit` or `reject`."""
    output: Mapped[str | None]
    """The answer as edited."""
    reason: Mapped[str | None]
    user_id: Mapped[UUID | None]
    sample_id: Mapped[UUID | None]
    """The row of the dataset that the label made."""
    at: Mapped[datetime] = mapped_column(server_default=NOW)
    __table_args__ = (
        ForeignKeyConstraint(["project_id", "task_id"], ["tasks.project_id", "tasks.id"], ondelete="CASCADE"),
        CheckConstraint("label in ('accept', 'edit', 'reject')", name="task_labels_label"),
    )


class MetricRow(Base):
    """One model call. Partitioned by month of `at`."""

    __tablename__ = "model_performance_metrics"
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True, server_default=NOW)
    task_id: Mapped[UUID | None]
    attempt: Mapped[int | None]
    decision_id: Mapped[UUID | None]
    model: Mapped[str]
    task_type: Mapped[str]
    success: Mapped[bool]
    error: Mapped[str | None]
    """Code of the error; None on success."""
    first_token_s: Mapped[float | None]
    duration_s: Mapped[float]
    input_tokens: Mapped[int | None]
    output_tokens: Mapped[int | None]
    """As the server counted them; None where it did not."""
    cost_usd: Mapped[float | None]
    """None is unknown."""
    quality: Mapped[float | None]
    """In [0, 1]; None until something measured it."""
    quality_source: Mapped[str | None]
    """`guardian`, `judge` or `person`; the last one overrules."""
    position: Mapped[int | None]
    """Where the quality stands among those of its task type, and `turn` among those of its model at it: they give the
    weight that it has now (`repositories/statistics.py`). None until a quality was counted."""
    turn: Mapped[int | None]
    observed_at: Mapped[datetime | None]
    """When `router_statistics` took the call in, or its quality where that came later."""
    __table_args__ = (
        Index("metrics_model", "project_id", "model", "at"),
        Index("metrics_decision", "project_id", "decision_id"),
        {"postgresql_partition_by": "RANGE (at)"},
    )


class PositionRow(Base):
    """How far a task type has come: what all its statistics fade by."""

    __tablename__ = "router_positions"
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    task_type: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(server_default=text("0"))
    """Qualities observed ever."""
    version: Mapped[int] = mapped_column(server_default=text("1"))
    """Raised by every change: replicas read back what has another one than they know."""
    last_change: Mapped[datetime] = mapped_column(server_default=text("'epoch'"))
    __table_args__ = (Index("router_positions_recent", "project_id", "last_change"),)


class StatisticsRow(Base):
    """What was measured of a model at a task type, decayed to `position` and `last_change`.

    A row is written when its own model was observed, and faded when it is read: `repositories/statistics.py`.
    """

    __tablename__ = "router_statistics"
    project_id: Mapped[UUID] = mapped_column(primary_key=True)
    task_type: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    n: Mapped[float]
    """Qualities, their sum `s`, and the sum of their squares `q`; the same of the short memory below."""
    s: Mapped[float]
    q: Mapped[float]
    short_n: Mapped[float]
    short_s: Mapped[float]
    short_q: Mapped[float]
    turn: Mapped[int]
    """Qualities of this row ever."""
    calls: Mapped[float]
    """Weight of the averages below."""
    first_token_s: Mapped[float | None]
    latency_s: Mapped[float | None]
    tokens_per_s: Mapped[float | None]
    cost_usd: Mapped[float | None]
    input_tokens: Mapped[float | None]
    output_tokens: Mapped[float | None]
    position: Mapped[int]
    last_change: Mapped[datetime]
    __table_args__ = (
        ForeignKeyConstraint(
            ["project_id", "task_type"],
            ["router_positions.project_id", "router_positions.task_type"],
            ondelete="CASCADE",
        ),
    )


class DecisionRow(Base):
    __tablename__ = "routing_decisions"
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    task_id: Mapped[UUID | None]
    attempt: Mapped[int | None]
    task_type: Mapped[str]
    task_type_source: Mapped[str]
    """`caller`, `classifier` or `default`."""
    kind: Mapped[str]
    chosen: Mapped[str | None]
    """None when no model could take the call."""
    answered: Mapped[str | None]
    """The model that answered in the end; another than `chosen` after a fallback."""
    candidates: Mapped[list[Any]]
    excluded: Mapped[list[Any]]
    calls: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    """Every call made under this decision, in order: model, error, seconds, tokens, cost."""
    margin: Mapped[float | None]
    quality: Mapped[float | None]
    at: Mapped[datetime] = mapped_column(server_default=NOW)
    task_type_confidence: Mapped[float | None]
    task_type_reason: Mapped[str | None]
    """Why nothing better than the default was found."""
    length: Mapped[str | None]
    """`short`, `medium` or `long`: the bucket of the input."""
    __table_args__ = (Index("routing_decisions_task", "project_id", "task_id"),)


class TaskTypeRow(Base):
    """What the labelled prompts of a task type have in common: the sum of their vectors."""

    __tablename__ = "task_type_centroids"
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    embedding_model: Mapped[str] = mapped_column(primary_key=True)
    task_type: Mapped[str] = mapped_column(primary_key=True)
    examples: Mapped[float]
    vector_sum: Mapped[list[float]] = mapped_column(ARRAY(REAL))
    changed_at: Mapped[datetime] = mapped_column(server_default=NOW)


class VerdictRow(Base):
    __tablename__ = "verdicts"
    project_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    task_id: Mapped[UUID]
    attempt: Mapped[int]
    draft: Mapped[int]
    """1 for the first draft of the attempt."""
    decision_id: Mapped[UUID | None]
    approved: Mapped[bool]
    score: Mapped[float | None]
    findings: Mapped[list[Any]]
    checks: Mapped[list[Any]]
    output: Mapped[str]
    reasoning: Mapped[str] = mapped_column(server_default="")
    """What the model wrote before the answer; no part of it."""
    messages: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    """What the model was asked, as it saw it: a person's correction of the answer becomes training data with it."""
    at: Mapped[datetime] = mapped_column(server_default=NOW)
    __table_args__ = (
        ForeignKeyConstraint(["project_id", "task_id"], ["tasks.project_id", "tasks.id"], ondelete="CASCADE"),
        Index("verdicts_task", "project_id", "task_id"),
    )


class ProjectConfigRow(Base):
    """A version of a project's settings; the row of the project itself has the present ones."""

    __tablename__ = "project_config_versions"
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(server_default=NOW)
    user_id: Mapped[UUID | None]
    why: Mapped[str]
    changes: Mapped[dict[str, Any]]
    """What this version changed, by key: the value before, and the one after."""
    settings: Mapped[dict[str, Any]]
    """All settings from this version on."""


class PluginValueRow(Base):
    """A value that a plugin keeps for a project."""

    __tablename__ = "plugin_storage"
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    plugin: Mapped[str] = mapped_column(primary_key=True)
    """The name by which its agent is known."""
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[Any] = mapped_column(JSONB, nullable=False)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)


PROJECT_OWNED = (
    TaskRow,
    TaskEventRow,
    MetricRow,
    PositionRow,
    StatisticsRow,
    DecisionRow,
    TaskTypeRow,
    VerdictRow,
    SampleRow,
    InvitationRow,
    ApiKeyRow,
    LabelRow,
    TrainingRunRow,
    AdapterRow,
    AdapterSampleRow,
    ProjectConfigRow,
    PluginValueRow,
    DatasetImportRow,
)
"""Tables under the policy of one project; a test holds this list against the catalogue of PostgreSQL."""

__all__ = [
    "PROJECT_OWNED",
    "AdapterRow",
    "AdapterSampleRow",
    "AdapterState",
    "ApiKeyRow",
    "AuditRow",
    "Base",
    "ConfigRow",
    "DatasetImportRow",
    "DecisionRow",
    "InvitationRow",
    "LabelRow",
    "LinkRow",
    "MembershipRow",
    "MetricRow",
    "PluginValueRow",
    "PositionRow",
    "ProjectConfigRow",
    "ProjectRow",
    "ReplicaRow",
    "Role",
    "RunState",
    "SampleRow",
    "SampleState",
    "SessionRow",
    "SigningKeyRow",
    "StatisticsRow",
    "TaskEventRow",
    "TaskRow",
    "TaskState",
    "TaskTypeRow",
    "TicketRow",
    "TrainingRunRow",
    "UserRow",
    "VerdictRow",
]
