"""The grants of the app role: it cannot read secrets and hashes in any scope."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy.engine import make_url

from kairos.embedded import Addresses

DENIED = [
    "select secret from signing_keys",
    "select * from signing_keys",
    "insert into signing_keys (kid, secret) values ('x', 'x')",
    "update signing_keys set secret = 'x'",
    "delete from signing_keys",
    "select password_hash from users",
    "select * from users",
    "update users set password_hash = 'x'",
    "update users set email = 'x'",
    "update users set name = password_hash",
    "update users set name = 'x' returning password_hash",
    "insert into users (id, email, name) values (gen_random_uuid(), 'x', 'x') returning password_hash",
    "insert into users (id, email, name) values (gen_random_uuid(), 'x', 'x') on conflict (email) "
    "do update set password_hash = 'x'",
    "select * from kairos_account('admin@localhost')",
    "select kairos_password_hash(gen_random_uuid())",
    "select kairos_set_password(gen_random_uuid(), 'x', null)",
    "select kairos_rehash_password(gen_random_uuid(), 'x', 'x')",
    "select kairos_spend_link('x', 'x')",
    "select * from kairos_access_keys()",
    "select kairos_add_access_key('x', 'x')",
    "select kairos_retire_access_keys('x', '1 s')",
    "select kairos_shared_secret('refresh', 'x')",
    "copy users to stdout",
    "copy signing_keys to stdout",
]
ALLOWED = [
    "select id, email, name, operator, created_at, disabled_at from users",
    "update users set name = 'x' where false",
]


@pytest.fixture
def app_role(addresses: Addresses):
    url = make_url(addresses.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as connection:
        connection.execute("select set_config('kairos.operator', 'on', true)")
        yield connection
        connection.rollback()


@pytest.mark.parametrize("statement", DENIED)
def test_app_role_cannot_read_keys_or_hashes(app_role: psycopg.Connection, statement: str):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        app_role.execute(statement.encode())


@pytest.mark.parametrize("statement", ALLOWED)
def test_app_role_reads_and_renames_accounts(app_role: psycopg.Connection, statement: str):
    app_role.execute(statement.encode())


def test_functions_of_the_system_role_are_not_public(addresses: Addresses):
    url = make_url(addresses.migration_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "select proname from pg_proc p where pronamespace = 'public'::regnamespace and proname like 'kairos%' "
            "and prosecdef and (proacl is null or exists (select from aclexplode(proacl) a where a.grantee = 0))"
        ).fetchall()
    assert rows == []
