"""Stored providers and their models.

Every function takes a project id and runs in that project's scope. None selects the shared providers, which daemons
read without a scope and operators write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast
from uuid import UUID

from sqlalchemy import CursorResult, delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from kairos.db.models import ProjectModelRow, ProjectProviderRow, ProviderModelRow, ProviderRow

AnyProvider: TypeAlias = ProviderRow | ProjectProviderRow
AnyModel: TypeAlias = ProviderModelRow | ProjectModelRow


async def states(connection: AsyncConnection) -> dict[UUID | None, str]:
    """A digest of the providers of each project that has any, and of the shared ones. For the system role."""
    rows = await connection.execute(text("select project_id, state from kairos_provider_states()"))
    return {row.project_id: row.state or "" for row in rows}


async def all_of(session: AsyncSession, project_id: UUID | None) -> Sequence[AnyProvider]:
    """The providers by name."""
    row = _provider(project_id)
    return (await session.execute(select(row).where(*_in(row, project_id)).order_by(row.name))).scalars().all()


async def one(
    session: AsyncSession, project_id: UUID | None, provider_id: UUID, *, lock: bool = False
) -> AnyProvider | None:
    """A provider; with `lock`, no other transaction changes it until this one ends."""
    row = _provider(project_id)
    statement = select(row).where(row.id == provider_id, *_in(row, project_id))
    if lock:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    return (await session.execute(statement)).scalar_one_or_none()


async def lock_all(session: AsyncSession, project_id: UUID | None) -> None:
    """Let one transaction at a time add providers or models of this owner, so that limits and names hold."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"providers {project_id}", 0))))


async def add(session: AsyncSession, project_id: UUID | None, values: Mapping[str, Any]) -> AnyProvider:
    """Add a provider. Raises `Duplicate` if the name is taken."""
    row = ProviderRow(**values) if project_id is None else ProjectProviderRow(project_id=project_id, **values)
    session.add(row)
    await session.flush()
    await session.refresh(row)
    return row


async def change(session: AsyncSession, provider: AnyProvider, values: Mapping[str, Any]) -> None:
    """Change a locked provider; increases its version."""
    await _update(session, provider, {**values, "version": provider.version + 1})


async def models_changed(session: AsyncSession, provider: AnyProvider) -> None:
    """Let daemons read the provider again after a change of its models."""
    await _update(session, provider, {})


async def rewrapped(session: AsyncSession, provider: AnyProvider, sealed: bytes, master_key: str) -> None:
    """Store a secret under another master key. It is the same secret, so the version stays."""
    await _update(session, provider, {"sealed": sealed, "master_key": master_key})


async def remove(session: AsyncSession, project_id: UUID | None, provider_id: UUID) -> None:
    """Delete a provider with its models."""
    row = _provider(project_id)
    await session.execute(delete(row).where(row.id == provider_id, *_in(row, project_id)))


async def models_of(
    session: AsyncSession, project_id: UUID | None, provider_id: UUID | None = None
) -> Sequence[AnyModel]:
    """The models of a provider, or of all providers, in the order in which they were added."""
    row = _model(project_id)
    conditions = [*_in(row, project_id), *([row.provider_id == provider_id] if provider_id else [])]
    return (await session.execute(select(row).where(*conditions).order_by(row.created_at, row.id))).scalars().all()


async def add_model(
    session: AsyncSession, project_id: UUID | None, provider_id: UUID, values: Mapping[str, Any]
) -> AnyModel:
    """Add a model. Raises `Duplicate` if the name is taken."""
    given = {"provider_id": provider_id, **values}
    row = ProviderModelRow(**given) if project_id is None else ProjectModelRow(project_id=project_id, **given)
    session.add(row)
    await session.flush()
    await session.refresh(row)
    return row


async def change_model(session: AsyncSession, model: AnyModel, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(model, name, value)
    await session.flush()


async def remove_model(session: AsyncSession, project_id: UUID | None, provider_id: UUID, model_id: UUID) -> str | None:
    """Delete a model of a provider and return its name; None if there is none."""
    row = _model(project_id)
    statement = delete(row).where(row.id == model_id, row.provider_id == provider_id, *_in(row, project_id))
    return (await session.execute(statement.returning(row.name))).scalar_one_or_none()


async def _update(session: AsyncSession, provider: AnyProvider, values: Mapping[str, Any]) -> None:
    row, project_id = type(provider), getattr(provider, "project_id", None)
    values = {"changed_at": func.now(), **values, "revision": row.revision + 1}
    statement = update(row).where(row.id == provider.id, *_in(row, project_id)).values(**values)
    result = await session.execute(statement.execution_options(synchronize_session=False))
    assert cast(CursorResult[Any], result).rowcount == 1, "the provider was not locked"
    await session.refresh(provider)


def _provider(project_id: UUID | None) -> Any:
    return ProviderRow if project_id is None else ProjectProviderRow


def _model(project_id: UUID | None) -> Any:
    return ProviderModelRow if project_id is None else ProjectModelRow


def _in(row: Any, project_id: UUID | None) -> list[Any]:
    return [] if project_id is None else [row.project_id == project_id]
