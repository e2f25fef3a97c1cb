"""The tables above projects: people, projects themselves, sessions, keys that sign, the audit log, daemons."""

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
    """Argon2id; None until the one-time link was used. The app role cannot read it: see `repositories/passwords.py`."""
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
    """Nobody is a member any more, and a daemon erases what it holds."""


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
    """Of the refresh token in use; an older one shows that a token was stolen, and the session ends."""
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
    """`access` for tokens; `refresh` and `api_key` are made once and shared by all replicas."""
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
    """Opens one WebSocket of live events, once and soon."""

    __tablename__ = "event_tickets"
    token_hash: Mapped[bytes] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    session_id: Mapped[UUID | None]
    """None where an API key asked."""
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    key_id: Mapped[UUID | None]
    """The API key that asked."""
    expires_at: Mapped[datetime]


class ReplicaRow(Base):
    """A daemon that lives, or did until its last heartbeat."""

    __tablename__ = "replicas"
    name: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str]
    version: Mapped[str]
    slots: Mapped[int]
    started_at: Mapped[datetime] = mapped_column(server_default=NOW)
    heartbeat_at: Mapped[datetime] = mapped_column(server_default=NOW)
    config_version: Mapped[int] = mapped_column(server_default=text("0"))
    """Of the configuration that it runs."""
    config_error: Mapped[str | None]
    """Why it does not run a newer one."""
    config_waiting: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    """Keys whose new values it takes at its next start."""


class ConfigRow(Base):
    """A version of the whole system's configuration: what people set above file and environment."""

    __tablename__ = "config_versions"
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(server_default=NOW)
    user_id: Mapped[UUID | None]
    why: Mapped[str]
    changes: Mapped[dict[str, Any]]
    """What this version changed, by key: null took the value back to the one of file and environment."""
    overrides: Mapped[dict[str, Any]]
    """All that is set from this version on, by key."""
