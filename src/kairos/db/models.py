"""SQLAlchemy models of the tables. Policies, roles and functions are defined in the migrations.

In project-owned tables every key begins with `project_id`, because row-level security hides rows but not the errors of
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
from kairos.db.base import (
    NOW,
    AdapterState,
    AuditAction,
    Base,
    DaemonRole,
    EventKind,
    Role,
    RunState,
    SampleSource,
    SampleState,
    TaskState,
)
from kairos.db.learning_models import AdapterRow, AdapterSampleRow, DatasetImportRow, SampleRow, TrainingRunRow
from kairos.db.provider_models import ProjectModelRow, ProjectProviderRow, ProviderModelRow, ProviderRow


class InvitationRow(Base):
    __tablename__ = "invitations"
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    token_hash: Mapped[bytes]
    email: Mapped[str | None]
    """Lower case. None: anyone with the link may accept."""
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
    """The visible part of the key, used to look it up."""
    key_hash: Mapped[bytes]
    """HMAC-SHA-256 of the whole key."""
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_by: Mapped[UUID]
    """The key never has more permissions than this member."""
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
    """Options of the model call; with `checks`, the stored form of `TaskSpec`."""
    state: Mapped[str] = mapped_column(server_default=text("'queued'"))
    lane: Mapped[str]
    priority: Mapped[int] = mapped_column(server_default=text("0"))
    not_before: Mapped[datetime] = mapped_column(server_default=NOW)
    timeout_s: Mapped[float]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    max_attempts: Mapped[int]
    epoch: Mapped[int] = mapped_column(server_default=text("0"))
    """Fencing token, increased by every claim; a write with an older epoch matches no row."""
    owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    cancel_requested: Mapped[bool] = mapped_column(server_default=text("false"))
    idempotency_key: Mapped[str | None]
    request_hash: Mapped[bytes | None]
    """Hash of the submitted body: the same idempotency key with another body is a conflict."""
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
    """The transaction that wrote the event. Ids are assigned before their transactions end, so a reader that follows
    ids
    alone can miss events. In the order (xact, id), below the oldest running transaction, no event is added later."""
    __table_args__ = (
        ForeignKeyConstraint(["project_id", "task_id"], ["tasks.project_id", "tasks.id"], ondelete="CASCADE"),
        Index("task_events_task", "project_id", "task_id", "id"),
        Index("task_events_order", "project_id", "xact", "id"),
    )


class LabelRow(Base):
    """A person's judgement of a task's answer. It overrides every check, also in the router."""

    __tablename__ = "task_labels"
    project_id: Mapped[UUID] = mapped_column(primary_key=True)
    task_id: Mapped[UUID] = mapped_column(primary_key=True)
    label: Mapped[str]
    """`accept`, `edit` or `reject`."""
    output: Mapped[str | None]
    """The corrected answer."""
    reason: Mapped[str | None]
    user_id: Mapped[UUID | None]
    sample_id: Mapped[UUID | None]
    """The dataset row that the label added or changed."""
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
    """Error code; None on success."""
    first_token_s: Mapped[float | None]
    duration_s: Mapped[float]
    input_tokens: Mapped[int | None]
    output_tokens: Mapped[int | None]
    """As counted by the server; None if it did not count them."""
    cost_usd: Mapped[float | None]
    """None: unknown."""
    quality: Mapped[float | None]
    """In [0, 1]; None until it was measured."""
    quality_source: Mapped[str | None]
    """`guardian`, `judge` or `person`; each overrides those before it."""
    position: Mapped[int | None]
    """Sequence number of the quality within its task type; `turn` is the one within its model at this task type. Both
    determine its current weight (`repositories/routing/statistics.py`). None until a quality was counted."""
    turn: Mapped[int | None]
    observed_at: Mapped[datetime | None]
    """When `router_statistics` counted the call, or its quality if that was later."""
    __table_args__ = (
        Index("metrics_model", "project_id", "model", "at"),
        Index("metrics_decision", "project_id", "decision_id"),
        {"postgresql_partition_by": "RANGE (at)"},
    )


class PositionRow(Base):
    """Position of a task type, which determines the decay of its statistics."""

    __tablename__ = "router_positions"
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    task_type: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(server_default=text("0"))
    """Number of all qualities observed so far."""
    version: Mapped[int] = mapped_column(server_default=text("1"))
    """Increased by every change: replicas reload task types whose version differs from theirs."""
    last_change: Mapped[datetime] = mapped_column(server_default=text("'epoch'"))
    __table_args__ = (Index("router_positions_recent", "project_id", "last_change"),)


class StatisticsRow(Base):
    """Statistics of a model at a task type, decayed to `position` and `last_change`.

    A row is written when its model was observed, and decayed further when it is read
    (`repositories/routing/statistics.py`).
    """

    __tablename__ = "router_statistics"
    project_id: Mapped[UUID] = mapped_column(primary_key=True)
    task_type: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    n: Mapped[float]
    """Weight of the qualities, their sum `s`, and the sum of their squares `q`; below the same for the short memory."""
    s: Mapped[float]
    q: Mapped[float]
    short_n: Mapped[float]
    short_s: Mapped[float]
    short_q: Mapped[float]
    turn: Mapped[int]
    """Number of all qualities counted in this row."""
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
    """None if no model could take the call."""
    answered: Mapped[str | None]
    """The model that answered; differs from `chosen` after a fallback."""
    candidates: Mapped[list[Any]]
    excluded: Mapped[list[Any]]
    calls: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    """All calls made for this decision, in order: model, error, seconds, tokens, cost."""
    margin: Mapped[float | None]
    quality: Mapped[float | None]
    at: Mapped[datetime] = mapped_column(server_default=NOW)
    task_type_confidence: Mapped[float | None]
    task_type_reason: Mapped[str | None]
    """The reason why the default task type was used."""
    length: Mapped[str | None]
    """Length class of the input: `short`, `medium` or `long`."""
    __table_args__ = (Index("routing_decisions_task", "project_id", "task_id"),)


class TaskTypeRow(Base):
    """Centroid of a task type: the sum of the vectors of its labelled prompts."""

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
    """Reasoning that the model returned before the answer."""
    messages: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    """The messages sent to the model; together with a correction of the answer they become training data."""
    at: Mapped[datetime] = mapped_column(server_default=NOW)
    __table_args__ = (
        ForeignKeyConstraint(["project_id", "task_id"], ["tasks.project_id", "tasks.id"], ondelete="CASCADE"),
        Index("verdicts_task", "project_id", "task_id"),
    )


class ProjectConfigRow(Base):
    """A version of a project's settings; the project's row has the current ones."""

    __tablename__ = "project_config_versions"
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(server_default=NOW)
    user_id: Mapped[UUID | None]
    why: Mapped[str]
    changes: Mapped[dict[str, Any]]
    """Changes of this version by key, with the values before and after."""
    settings: Mapped[dict[str, Any]]
    """All settings of this version."""


class PluginValueRow(Base):
    """A value that a plugin stores for a project."""

    __tablename__ = "plugin_storage"
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    plugin: Mapped[str] = mapped_column(primary_key=True)
    """Name of the plugin's agent."""
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
    ProjectProviderRow,
    ProjectModelRow,
)
"""Tables isolated by project; a test compares this list with PostgreSQL's catalogue."""

__all__ = [
    "PROJECT_OWNED",
    "AdapterRow",
    "AdapterSampleRow",
    "AdapterState",
    "ApiKeyRow",
    "AuditAction",
    "AuditRow",
    "Base",
    "ConfigRow",
    "DaemonRole",
    "DatasetImportRow",
    "DecisionRow",
    "EventKind",
    "InvitationRow",
    "LabelRow",
    "LinkRow",
    "MembershipRow",
    "MetricRow",
    "PluginValueRow",
    "PositionRow",
    "ProjectConfigRow",
    "ProjectModelRow",
    "ProjectProviderRow",
    "ProjectRow",
    "ProviderModelRow",
    "ProviderRow",
    "ReplicaRow",
    "Role",
    "RunState",
    "SampleRow",
    "SampleSource",
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
