"""The tables of the learning loop: the dataset, training runs, adapters, and which rows an adapter saw."""

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
    """None where the row was imported."""
    attempt: Mapped[int | None]
    task_type: Mapped[str | None]
    prompt: Mapped[list[Any]]
    """The messages as the model saw them."""
    faulty_output: Mapped[str | None]
    """None when the task failed without one: never trained on until it is labelled."""
    reason: Mapped[str]
    model: Mapped[str | None]
    adapter: Mapped[str | None]
    corrected_output: Mapped[str | None]
    state: Mapped[str] = mapped_column(server_default=text("'open'"))
    version: Mapped[int] = mapped_column(server_default=text("1"))
    """Raised by every change of what would be trained on; who writes names the one they saw."""
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    source: Mapped[str] = mapped_column(server_default=text("'guardian'"))
    """`guardian`, `failure`, `person` or `import`."""
    fingerprint: Mapped[bytes | None]
    """SHA-256 of prompt and faulty output: the same fault again is counted in `seen` and makes no second row. Imported
    rows may share it: each of their answers is a row."""
    seen: Mapped[int] = mapped_column(server_default=text("1"))
    secrets: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    """What looks like a secret: kind and place, never the text. Such rows are kept out until a person clears them."""
    cleared_by: Mapped[UUID | None]
    labelled_by: Mapped[UUID | None]
    labelled_at: Mapped[datetime | None]
    claimed_by: Mapped[UUID | None]
    """Who has the row on their labelling page, or had it last."""
    claimed_until: Mapped[datetime | None]
    previous: Mapped[dict[str, Any] | None]
    """What the last change found, and who made it: taken back by an undo, and gone with the row."""
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
    """The import that a project has under way: one at a time, over all daemons."""

    __tablename__ = "dataset_imports"
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    holder: Mapped[UUID]
    """Of the request."""
    held_until: Mapped[datetime]
    """Extended with every batch; after it the slot is free, whatever became of the holder."""


class TrainingRunRow(Base):
    """One fine-tuning run of a project."""

    __tablename__ = "training_runs"
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    task_id: Mapped[UUID | None]
    """The task of the `train` lane that does it."""
    base: Mapped[str]
    """Name of the base in the catalogue."""
    state: Mapped[str] = mapped_column(server_default=text("'waiting'"))
    settings: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    rows: Mapped[int] = mapped_column(server_default=text("0"))
    rows_hash: Mapped[str | None]
    progress: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    """The last report of the training process, and the curve so far."""
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
    """Below the folder of models."""
    sha256: Mapped[str]
    """Of the GGUF file."""
    bytes: Mapped[int]
    manifest: Mapped[dict[str, Any]]
    report: Mapped[dict[str, Any] | None]
    """What the gate measured, with the pairs; None until it has."""
    replaced: Mapped[UUID | None]
    """The adapter that served before this one: a roll-back brings it back. None: the plain base."""
    created_by: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    changed_at: Mapped[datetime] = mapped_column(server_default=NOW)
    """When it took its present state: what the router measured since then speaks of that state."""
    changed_why: Mapped[str | None]
    """In words, for whoever looks at it."""
    __table_args__ = (
        UniqueConstraint("project_id", "base", "version"),
        UniqueConstraint("project_id", "run_id"),
        CheckConstraint(
            "state in ('candidate','needs_approval','canary','live','retired','refused','deleted')",
            name="adapters_state",
        ),
        ForeignKeyConstraint(
            ["project_id", "run_id"], ["training_runs.project_id", "training_runs.id"], ondelete="CASCADE"
        ),
    )


class AdapterSampleRow(Base):
    """That an adapter saw a row of the dataset, in which version, and whether in training or held out."""

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
