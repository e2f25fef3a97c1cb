"""Tables of the learning loop: the dataset, training runs, adapters, and the rows used for each adapter."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from kairos.db.base import NOW, Base


class SampleRow(Base):
    """A faulty output that may become training data."""

    __tablename__ = "fine_tuning_dataset"
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    task_id: Mapped[UUID | None]
    """None if the row was imported."""
    attempt: Mapped[int | None]
    task_type: Mapped[str | None]
    prompt: Mapped[list[Any]]
    """The messages sent to the model."""
    faulty_output: Mapped[str | None]
    """None if the task failed without an output; such a row is not trained on until it is labelled."""
    reason: Mapped[str]
    model: Mapped[str | None]
    adapter: Mapped[str | None]
    corrected_output: Mapped[str | None]
    state: Mapped[str] = mapped_column(server_default=text("'open'"))
    version: Mapped[int] = mapped_column(server_default=text("1"))
    """Increased by every change of the trainable content; a write must name the version that it is based on."""
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    source: Mapped[str] = mapped_column(server_default=text("'guardian'"))
    """`guardian`, `failure`, `person` or `import`."""
    fingerprint: Mapped[bytes | None]
    """SHA-256 of prompt and faulty output. A repeated fault increases `seen` instead of adding a row. Imported rows may
    share a fingerprint: each answer is a row."""
    seen: Mapped[int] = mapped_column(server_default=text("1"))
    secrets: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    """Possible secrets: kind and place, never the text. Such rows are excluded until a person clears them."""
    cleared_by: Mapped[UUID | None]
    labelled_by: Mapped[UUID | None]
    labelled_at: Mapped[datetime | None]
    claimed_by: Mapped[UUID | None]
    """The user who has the row on their labelling page, or had it last."""
    claimed_until: Mapped[datetime | None]
    previous: Mapped[dict[str, Any] | None]
    """The values before the last change, and its author; restored by an undo."""
    __table_args__ = (
        CheckConstraint(
            "state in ('open','corrected','approved','rejected','held_out')", name="fine_tuning_dataset_state"
        ),
        Index("fine_tuning_dataset_task", "project_id", "task_id"),
        Index(
            "fine_tuning_dataset_fault",
            "project_id",
            "fingerprint",
            unique=True,
            postgresql_where=text("source <> 'import'"),
        ),
        Index(
            "fine_tuning_dataset_content",
            "project_id",
            "fingerprint",
            text("hashtextextended(corrected_output, 0)"),
        ),
        Index("fine_tuning_dataset_state_id", "project_id", "state", "id"),
    )


class DatasetImportRow(Base):
    """The running import of a project: at most one, over all daemons."""

    __tablename__ = "dataset_imports"
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    holder: Mapped[UUID]
    """Id of the import request."""
    held_until: Mapped[datetime]
    """Extended with every batch; afterwards the slot is free even if the holder did not release it."""


class TrainingRunRow(Base):
    """One fine-tuning run of a project."""

    __tablename__ = "training_runs"
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    task_id: Mapped[UUID | None]
    """The task in the `train` lane that runs it."""
    base: Mapped[str]
    """Catalogue name of the base model."""
    state: Mapped[str] = mapped_column(server_default=text("'waiting'"))
    settings: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    rows: Mapped[int] = mapped_column(server_default=text("0"))
    rows_hash: Mapped[str | None]
    progress: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    """The last report of the training process, and the loss curve so far."""
    error: Mapped[str | None]
    created_by: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint(
            "state in ('waiting','training','evaluating','done','failed','cancelled')", name="training_runs_state"
        ),
    )


class AdapterRow(Base):
    """A LoRA adapter of a project; its files never change."""

    __tablename__ = "adapters"
    project_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    run_id: Mapped[UUID]
    base: Mapped[str]
    version: Mapped[int]
    """1 for the first adapter of this base in this project."""
    state: Mapped[str] = mapped_column(server_default=text("'candidate'"))
    path: Mapped[str]
    """Relative to the models folder."""
    sha256: Mapped[str]
    """Checksum of the GGUF file."""
    bytes: Mapped[int]
    manifest: Mapped[dict[str, Any]]
    report: Mapped[dict[str, Any] | None]
    """Results of the evaluation gate, with the pairs; None before the evaluation."""
    replaced: Mapped[UUID | None]
    """The adapter in service before this one, restored by a rollback. None: the base model alone."""
    created_by: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    changed_at: Mapped[datetime] = mapped_column(server_default=NOW)
    """Time of the last state change. Measurements since then belong to the current state."""
    changed_why: Mapped[str | None]
    """The reason for the last state change, as text."""
    __table_args__ = (
        UniqueConstraint("project_id", "base", "version"),
        Index("adapters_of_run", "project_id", "run_id"),
        CheckConstraint(
            "state in ('candidate','needs_approval','canary','live','retired','refused','deleted')",
            name="adapters_state",
        ),
        ForeignKeyConstraint(
            ["project_id", "run_id"], ["training_runs.project_id", "training_runs.id"], ondelete="CASCADE"
        ),
    )


class AdapterSampleRow(Base):
    """A dataset row, with its version, that was used to train or evaluate an adapter."""

    __tablename__ = "adapter_rows"
    project_id: Mapped[UUID] = mapped_column(primary_key=True)
    adapter_id: Mapped[UUID] = mapped_column(primary_key=True)
    sample_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int]
    part: Mapped[str]
    """`training` or `held_out`."""
    __table_args__ = (
        ForeignKeyConstraint(["project_id", "adapter_id"], ["adapters.project_id", "adapters.id"], ondelete="CASCADE"),
        Index("adapter_rows_sample", "project_id", "sample_id"),
    )
