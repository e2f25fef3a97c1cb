"""Connections to PostgreSQL. Transactions of the app role can only be opened within a scope."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
from sqlalchemy import bindparam, text
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from kairos.config import DatabaseSettings
from kairos.db.addresses import DatabaseAddresses
from kairos.db.libpq import session_options
from kairos.db.schema import given_options, unreachable
from kairos.db.storable import json_for_storage, store_any_text
from kairos.errors import EngineUnavailable, KairosError
from kairos.tenancy import ProjectId, Scope, UserId

SET_SCOPE = text(
    "select set_config('kairos.project_id', :project, true), set_config('kairos.user_id', :user, true),"
    " set_config('kairos.operator', :operator, true)"
).bindparams(bindparam("project"), bindparam("user"), bindparam("operator"))

POOL_WAIT_S = 10
SYSTEM_POOL = 5
"""Connections of the system role. Sweep and erasure each hold a lock on one connection and work on another."""
CONNECT_S = 5


Session = AsyncSession
"""A transaction of the app role, in a scope."""
SystemConnection = AsyncConnection
"""A transaction of the system role."""

UNIQUE_VIOLATION, FOREIGN_KEY_VIOLATION = "23505", "23503"


class Duplicate(KairosError):
    """It already exists: {detail}. Use the existing one, or choose another name."""

    status, code, exit_code = 409, "duplicate", 5


class ProjectGone(KairosError):
    """The project was deleted, and nothing can be written to it. Choose another project."""

    status, code, exit_code = 404, "project_gone", 4


class AppRoleTooPowerful(KairosError):
    """The database role {role!r} of `database.url` can bypass row-level security: it {reason}. Use the address of a
    role
    that owns nothing and is neither superuser nor BYPASSRLS (`src/kairos/db/roles.sql` creates one)."""

    status, code, exit_code = 500, "app_role_too_powerful", 3


class Database:
    """The pools of the app role and of the system role."""

    def __init__(self, addresses: DatabaseAddresses, settings: DatabaseSettings) -> None:
        self.addresses = addresses
        self._app = _engine(addresses.app, settings.pool_size, settings.statement_timeout_s)
        self._system = _engine(addresses.system, SYSTEM_POOL, settings.statement_timeout_s)
        self._sessions = async_sessionmaker(self._app, expire_on_commit=False)

    @asynccontextmanager
    async def scope(self, scope: Scope, *, snapshot: bool = False) -> AsyncIterator[Session]:
        """A transaction that sees the scope's rows; committed at the end, rolled back on any error.

        With `snapshot` all statements see the database as of the first one. Raises `EngineUnavailable` if PostgreSQL
        cannot be reached or closes the connection, `ProjectGone` if a row refers to an erased project.
        """
        try:
            async with self._sessions.begin() as session:
                if snapshot:
                    await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
                await session.execute(SET_SCOPE, _parameters(scope))
                yield session
        except (OperationalError, InterfaceError, PoolTimeout) as error:
            if _exceeds_limit(error):
                raise
            raise self._lost(error) from error
        except IntegrityError as error:
            if _names_no_project(error):
                raise ProjectGone from error
            if getattr(error.orig, "sqlstate", None) != UNIQUE_VIOLATION:
                raise
            raise Duplicate(detail=_same(error)) from error

    def project(self, project_id: ProjectId, user_id: UserId | None = None):
        """A transaction in the scope of one project."""
        return self.scope(Scope(project_id=project_id, user_id=user_id))

    @asynccontextmanager
    async def system(self) -> AsyncIterator[SystemConnection]:
        """A transaction of the system role, which may call the functions granted to it but read no table."""
        try:
            async with self._system.begin() as connection:
                yield connection
        except (OperationalError, InterfaceError, PoolTimeout) as error:
            raise self._lost(error) from error

    async def check_app_role(self) -> None:
        """Raises `AppRoleTooPowerful` if row-level security does not apply to the app role."""
        async with self._sessions.begin() as session:
            row = (await session.execute(text(APP_ROLE))).one()
        reasons = {
            "is a superuser": row.superuser,
            "has BYPASSRLS": row.bypasses,
            "owns tables of Kairos or is a member of the role that does": row.owns,
        }
        for reason, holds in reasons.items():
            if holds:
                raise AppRoleTooPowerful(role=row.name, reason=reason)

    async def ping(self) -> None:
        """Raises `EngineUnavailable` if PostgreSQL does not answer."""
        async with self.scope(Scope()):
            pass

    async def close(self) -> None:
        await self._app.dispose()
        await self._system.dispose()

    def _lost(self, error: Exception) -> EngineUnavailable:
        return unreachable(self.addresses.app, error)


APP_ROLE = """
select current_user as name, r.rolsuper as superuser, r.rolbypassrls as bypasses,
  exists (select from pg_class c where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace
          and pg_has_role(current_user, c.relowner, 'member')) as owns
from pg_roles r where r.rolname = current_user
"""


def _engine(url: str, size: int, statement_timeout_s: float) -> AsyncEngine:
    timeout = {"statement_timeout": str(int(statement_timeout_s * 1000))}
    engine = create_async_engine(
        url,
        pool_size=size,
        max_overflow=0,
        pool_timeout=POOL_WAIT_S,
        pool_use_lifo=True,
        pool_pre_ping=True,
        json_serializer=json_for_storage,
        json_deserializer=orjson.loads,
        connect_args={
            "connect_timeout": CONNECT_S,
            "options": session_options(given_options(url), **timeout),
        },
        hide_parameters=True,  # user content must not appear in logs and errors
    )
    store_any_text(engine)
    return engine


def _exceeds_limit(error: Exception) -> bool:
    """Whether a statement exceeded a limit of PostgreSQL (class 54, such as nesting depth or size of an index row), so
    that a retry fails as well."""
    sqlstate = getattr(getattr(error, "orig", None), "sqlstate", None) or ""
    return sqlstate.startswith("54")


def _same(error: IntegrityError) -> str:
    """The columns that are equal, without their values."""
    diagnosis = getattr(error.orig, "diag", None)
    found = re.match(r"Key \((.*?)\)=", getattr(diagnosis, "message_detail", None) or "")
    names = [name for name in found[1].split(", ") if name != "project_id"] if found else []
    return f"one with the same {' and '.join(names) or 'key'}"


def _names_no_project(error: IntegrityError) -> bool:
    name = getattr(getattr(error.orig, "diag", None), "constraint_name", None) or ""
    return getattr(error.orig, "sqlstate", None) == FOREIGN_KEY_VIOLATION and name.endswith("_project_id_fkey")


def _parameters(scope: Scope) -> dict[str, str]:
    values = scope.settings()
    return {
        "project": values["kairos.project_id"],
        "user": values["kairos.user_id"],
        "operator": values["kairos.operator"],
    }
