"""Tables that belong to no project: users, projects, sessions, signing keys, the audit log, daemons."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from kairos.db.base import NOW, Base


class UserRow(Base):
    __tablename__ = "users"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    """Folded (`folding.fold_email`); in lower case where another account had the same fold before addresses were
    folded."""
    name: Mapped[str]
    password_hash: Mapped[str | None] = mapped_column(deferred=True, deferred_raiseload=True)
    """Argon2id; None until the one-time link was used. The app role cannot read it: see
    `repositories/access/passwords.py`."""
    operator: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    disabled_at: Mapped[datetime | None]


class ProjectRow(Base):
    __tablename__ = "projects"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    settings: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    archived_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    """From then on the project has no members, and a daemon erases its data."""


class MembershipRow(Base):
    __tablename__ = "memberships"
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    __table_args__ = (
        CheckConstraint("role in ('owner', 'admin', 'member', 'viewer')", name="memberships_role"),
        Index("memberships_user", "user_id"),
    )


class SessionRow(Base):
    __tablename__ = "sessions"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    generation: Mapped[int] = mapped_column(server_default=text("0"))
    """Generation of the current refresh token. A token of an older generation was stolen, and ends the session."""
    rotated_at: Mapped[datetime | None]
    client: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class LinkRow(Base):
    __tablename__ = "one_time_links"
    token_hash: Mapped[bytes] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    purpose: Mapped[str]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class SigningKeyRow(Base):
    __tablename__ = "signing_keys"
    kid: Mapped[str] = mapped_column(primary_key=True)
    secret: Mapped[bytes]
    purpose: Mapped[str] = mapped_column(server_default=text("'access'"))
    """`access` for tokens; `refresh` and `api_key` are created once and shared by all replicas."""
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    retired_at: Mapped[datetime | None]


class AuditRow(Base):
    __tablename__ = "audit_log"
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=NOW)
    user_id: Mapped[UUID | None]
    project_id: Mapped[UUID | None]
    action: Mapped[str]
    target: Mapped[str | None]
    data: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    __table_args__ = (
        Index("audit_log_project_at", "project_id", "at"),
        Index("audit_log_user_at", "user_id", "at"),
        Index("audit_log_at", "at"),
    )


class TicketRow(Base):
    """A short-lived, single-use ticket for a WebSocket of live events."""

    __tablename__ = "event_tickets"
    token_hash: Mapped[bytes] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    session_id: Mapped[UUID | None]
    """None if an API key requested the ticket."""
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    key_id: Mapped[UUID | None]
    """The API key that requested the ticket."""
    expires_at: Mapped[datetime]


class ReplicaRow(Base):
    """A daemon with its last heartbeat."""

    __tablename__ = "replicas"
    name: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str]
    version: Mapped[str]
    slots: Mapped[int]
    started_at: Mapped[datetime] = mapped_column(server_default=NOW)
    heartbeat_at: Mapped[datetime] = mapped_column(server_default=NOW)
    config_version: Mapped[int] = mapped_column(server_default=text("0"))
    """Configuration version in force."""
    config_error: Mapped[str | None]
    """The reason why a newer version could not be applied."""
    config_waiting: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    """Keys whose new values take effect at the next start."""


class ConfigRow(Base):
    """A version of the system's configuration: values that override file and environment."""

    __tablename__ = "config_versions"
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(server_default=NOW)
    user_id: Mapped[UUID | None]
    why: Mapped[str]
    changes: Mapped[dict[str, Any]]
    """Changes of this version by key; null restored the value of file and environment."""
    overrides: Mapped[dict[str, Any]]
    """All values set in this version, by key."""
