"""Checks in PostgreSQL's catalogue that every project-owned table is fully isolated."""

from __future__ import annotations

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from kairos.db.models import PROJECT_OWNED, Base
from kairos.embedded import Addresses

ABOVE_PROJECTS = {
    "users",
    "sessions",
    "one_time_links",
    "signing_keys",
    "projects",
    "memberships",
    "audit_log",
    "event_tickets",
    "replicas",
    "config_versions",
    "providers",
    "provider_models",
}
UNSCOPED = {"alembic_version"}
POLICY = "(project_id = (NULLIF(current_setting('kairos.project_id'::text, true), ''::text))::uuid)"


@pytest.fixture
def catalogue(addresses: Addresses):
    url = make_url(addresses.migration_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as connection:
        yield connection


def project_owned(catalogue) -> set[str]:
    rows = catalogue.execute(
        "select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'project_id' "
        "where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition"
    )
    return {name for (name,) in rows} - ABOVE_PROJECTS


def test_every_table_is_known(catalogue):
    """Every table is listed in `PROJECT_OWNED`, `ABOVE_PROJECTS` or `UNSCOPED`."""
    rows = catalogue.execute(
        "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') "
        "and not relispartition"
    )
    names = {name for (name,) in rows}
    assert names == {row.__tablename__ for row in PROJECT_OWNED} | ABOVE_PROJECTS | UNSCOPED
    assert project_owned(catalogue) == {row.__tablename__ for row in PROJECT_OWNED}


def test_every_table_forces_row_level_security(catalogue):
    rows = catalogue.execute(
        "select relname, relrowsecurity, relforcerowsecurity from pg_class "
        "where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition"
    ).fetchall()
    assert {name for name, on, forced in rows if not (on and forced)} == UNSCOPED


def test_project_owned_tables_have_the_policy_and_no_other(catalogue):
    for table in project_owned(catalogue):
        policies = catalogue.execute(
            "select policyname, qual, with_check, roles from pg_policies where tablename = %s", [table]
        ).fetchall()
        scope = [(qual, check) for name, qual, check, _ in policies if name == "scope"]
        assert scope == [(POLICY, POLICY)], table
        others = [(name, roles) for name, _, _, roles in policies if name != "scope"]
        (owner,) = catalogue.execute("select current_user").fetchone()
        assert others == [("owner", [owner])], table


def test_project_id_is_required(catalogue):
    rows = catalogue.execute(
        "select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'project_id' "
        "where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not a.attnotnull"
    )
    assert {name for (name,) in rows} == {"audit_log"}


def test_unique_and_foreign_keys_contain_the_project_id(catalogue):
    """Policies do not hide constraint errors: a key without `project_id` would reveal whether a foreign id exists."""
    for table in project_owned(catalogue):
        keys = catalogue.execute(
            """
            select i.indexrelid::regclass::text, array_agg(a.attname::text)
            from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
            where i.indrelid = %s::regclass and i.indisunique group by 1
            union all
            select c.conname, array_agg(a.attname::text)
            from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = any(c.conkey)
            where c.conrelid = %s::regclass and c.contype = 'f' group by 1
            """,
            [table, table],
        ).fetchall()
        assert keys
        assert [name for name, columns in keys if "project_id" not in columns] == [], table


def test_partitions_have_no_grants(catalogue):
    """A role with a grant on a partition could read it without the policy of its parent."""
    catalogue.execute("select kairos_make_partitions(2)")
    partitions = catalogue.execute(
        "select relname, relacl::text, pg_get_userbyid(relowner) from pg_class where relispartition and relkind = 'r'"
    ).fetchall()
    assert len(partitions) >= 3
    granted = {name: acl for name, acl, owner in partitions if acl and f"{{{owner}=" not in acl.replace('"', "")}
    assert granted == {}


def test_migrations_match_the_models(addresses):
    """The migrations and `db/models.py` describe the same tables."""
    engine = create_engine(addresses.migration_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": _not_a_partition})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def _not_a_partition(name, kind, _parents):
    return kind != "table" or not name.startswith("model_performance_metrics_")
