"""Migrates the schema to the version of this Kairos, in one transaction, under an advisory lock."""

from __future__ import annotations

from pathlib import Path

import psycopg
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError

from kairos.db.addresses import DatabaseAddresses
from kairos.db.libpq import session_options
from kairos.errors import EngineUnavailable, KairosError

HEAD = "0013"
"""The newest revision under `migrations/versions`; a test compares the two."""

LOCK = 0x6B61_6972_6F73  # "kairos": any number that this database uses for no other lock
LOCK_WAIT_S = 60
CONNECT_S = 5


class SchemaNewer(KairosError):
    """The database is at revision {found}, which this version of Kairos ({head}) does not know. Start the newer
    version,
    or restore the backup from before the upgrade."""

    status, code, exit_code = 500, "schema_newer", 1


class MigrationFailed(KairosError):
    """The migration of the database failed and was rolled back: {reason}. Check that the owner role
    (`database.migration_url`) may create tables in this database."""

    status, code, exit_code = 500, "migration_failed", 1


def current_revision(app_url: str) -> str | None:
    """The database's revision, read as the app role; None for an empty database."""
    try:
        options = session_options(given_options(app_url))
        with psycopg.connect(_libpq(app_url), connect_timeout=CONNECT_S, options=options) as connection:
            if connection.execute("select to_regclass('alembic_version')").fetchone() == (None,):
                return None
            row = connection.execute("select version_num from alembic_version").fetchone()
            return row[0] if row else None
    except psycopg.OperationalError as error:
        raise unreachable(app_url, error) from error


def migrate(addresses: DatabaseAddresses) -> tuple[str | None, str]:
    """Run the missing migrations. Returns the revisions before and after; equal if another process has migrated.

    Waits at most `LOCK_WAIT_S` for another migration.
    """
    before = current_revision(addresses.app)
    if before == HEAD:
        return before, HEAD
    engine = create_engine(
        addresses.owner,
        connect_args={"connect_timeout": CONNECT_S, "options": session_options(given_options(addresses.owner))},
        hide_parameters=True,
    )
    try:
        with engine.begin() as connection:
            connection.execute(text(f"set local lock_timeout = '{LOCK_WAIT_S}s'"))
            connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            before = _revision(connection)
            if before != HEAD:
                _upgrade(connection, addresses)
    except OperationalError as error:
        raise unreachable(addresses.owner, error) from error
    except DBAPIError as error:
        raise MigrationFailed(reason=str(error.orig).strip()) from error
    finally:
        engine.dispose()
    return before, HEAD


def _revision(connection: Connection) -> str | None:
    """The revision under the lock, after a possible migration by another process."""
    if connection.scalar(text("select to_regclass('alembic_version')")) is None:
        return None
    return connection.scalar(text("select version_num from alembic_version"))


def _upgrade(connection: Connection, addresses: DatabaseAddresses) -> None:
    # Alembic takes a third of a second to import, and most starts have nothing to migrate.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", _escaped(Path(__file__).parent / "migrations"))
    config.attributes.update(connection=connection, app_role=_user(addresses.app), system_role=_user(addresses.system))
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        found = connection.execute(text("select version_num from alembic_version")).scalar()
        raise SchemaNewer(found=found, head=HEAD) from error
    connection.execute(text(f'grant select on alembic_version to "{_user(addresses.app)}"'))


def unreachable(url: str, error: Exception) -> EngineUnavailable:
    """The error for a failed connection; its address is shown without the password."""
    reason = str(getattr(error, "orig", error)).strip().splitlines()
    return EngineUnavailable(
        engine="PostgreSQL",
        address=make_url(url).render_as_string(hide_password=True),
        reason=reason[-1] if reason else type(error).__name__,
        remedy="Check that it is running, and check the address under [database] in kairos.toml",
    )


def given_options(url: str) -> str:
    """The server settings in an address (`?options=…`)."""
    given = make_url(url).query.get("options", "")
    return given if isinstance(given, str) else " ".join(given)


def _escaped(path: Path) -> str:
    """Escape % for Alembic, which interpolates its options."""
    return str(path).replace("%", "%%")


def _user(url: str) -> str:
    return make_url(url).username or ""


def _libpq(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
