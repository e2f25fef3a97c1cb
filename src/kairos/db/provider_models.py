"""Tables of stored providers and their models: the shared ones of operators, and the projects' own."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Date, Double, ForeignKey, ForeignKeyConstraint, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from kairos.db.base import NOW, Base

EMPTY = text("'[]'")


class ProviderColumns:
    """The columns that shared providers and projects' own have in common."""

    name: Mapped[str]
    kind: Mapped[str]
    address: Mapped[str]
    local: Mapped[bool]
    """Whether prompts stay on the operator's hardware."""
    sealed: Mapped[bytes | None]
    """Key and headers, encrypted (`encryption/envelope.py`); None if it has neither."""
    master_key: Mapped[str | None]
    """Id of the master key that `sealed` needs."""
    key_set_at: Mapped[datetime | None]
    """When the key was set; None if it has no key."""
    header_names: Mapped[list[Any]] = mapped_column(server_default=EMPTY)
    """Names of the encrypted headers."""
    ca: Mapped[str | None]
    """Certificates in PEM of the authorities to trust in addition to the system's."""
    version: Mapped[int] = mapped_column(server_default=text("1"))
    """Increased by each change of the provider; a change must name the version that it is based on."""
    revision: Mapped[int] = mapped_column(server_default=text("1"))
    """Increased by each change of the provider or of its models, so that daemons read them again."""
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    changed_at: Mapped[datetime] = mapped_column(server_default=NOW)


class StoredModelColumns:
    """The columns that shared models and projects' own have in common."""

    name: Mapped[str]
    """Name in the catalogue."""
    upstream: Mapped[str]
    """Name on its server."""
    context: Mapped[int | None]
    """Tokens of prompt and answer together; None if unknown."""
    capabilities: Mapped[list[Any]] = mapped_column(server_default=EMPTY)
    price_input: Mapped[float | None] = mapped_column(Double)
    """USD per million tokens; None is unknown."""
    price_output: Mapped[float | None] = mapped_column(Double)
    price_at: Mapped[date | None] = mapped_column(Date)
    """The day on which the price was valid."""
    price_source: Mapped[str | None]
    price_per_hour: Mapped[float | None] = mapped_column(Double)
    """USD per hour that a local server costs; None is unknown."""
    specialties: Mapped[list[Any]] = mapped_column(server_default=EMPTY)
    tier: Mapped[float | None] = mapped_column(Double)
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class ProviderRow(ProviderColumns, Base):
    """A provider that all projects share."""

    __tablename__ = "providers"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    __table_args__ = (UniqueConstraint("name"),)


class ProviderModelRow(StoredModelColumns, Base):
    """A model of a shared provider."""

    __tablename__ = "provider_models"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    provider_id: Mapped[UUID] = mapped_column(ForeignKey("providers.id", ondelete="CASCADE"), index=True)
    __table_args__ = (UniqueConstraint("name"),)


class ProjectProviderRow(ProviderColumns, Base):
    """A provider that a project brings, with its own key."""

    __tablename__ = "project_providers"
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    __table_args__ = (UniqueConstraint("project_id", "name"),)


class ProjectModelRow(StoredModelColumns, Base):
    """A model of a project's own provider."""

    __tablename__ = "project_models"
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    provider_id: Mapped[UUID]
    __table_args__ = (
        UniqueConstraint("project_id", "name"),
        ForeignKeyConstraint(
            ["project_id", "provider_id"], ["project_providers.project_id", "project_providers.id"], ondelete="CASCADE"
        ),
    )
