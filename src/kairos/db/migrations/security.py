"""Helpers for policies and grants in migrations, so that each table gets a complete set.

The names of the roles are configurable and are passed with the migration's connection (`db/schema.py`).
"""

from __future__ import annotations

from alembic import op

PROJECT_SCOPE = "project_id = nullif(current_setting('kairos.project_id', true), '')::uuid"


def isolate_by_project(table: str) -> None:
    """Restrict a table to the rows of the project in scope, for every role except the owner, and grant access."""
    policy(table, PROJECT_SCOPE)
    grant(table, "select, insert, update, delete")


def policy(table: str, using: str, check: str | None = None) -> None:
    """Create a policy for all roles, and one for the owner, which FORCE also restricts: without it data migrations
    would
    see no rows."""
    op.execute(f"alter table {table} enable row level security")
    op.execute(f"alter table {table} force row level security")
    op.execute(f"create policy scope on {table} using ({using}) with check ({check or using})")
    op.execute(f"create policy owner on {table} to current_user using (true) with check (true)")


def grant(table: str, rights: str) -> None:
    op.execute(f"grant {rights} on {table} to {role_name('app_role')}")


def grant_lookup(signature: str, returns: str, body: str) -> None:
    """Create a function of the owner for the app role, for lookups before a scope is known."""
    _define(signature, returns, body)
    _allow(signature, "app_role")


def system_function(signature: str, returns: str | None, body: str | None) -> None:
    """Create a function for the system role; without a body, grant an existing one."""
    if returns and body:
        _define(signature, returns, body)
    _allow(signature, "system_role")


def _define(signature: str, returns: str, body: str) -> None:
    op.execute(
        f"create function {signature} returns {returns} language sql stable security definer "
        f"set search_path = public, pg_temp as $${body}$$"
    )


def _allow(signature: str, role: str) -> None:
    op.execute(f"revoke all on function {signature} from public")
    op.execute(f"grant execute on function {signature} to {role_name(role)}")


def role_name(name: str) -> str:
    """The quoted name of `app_role` or `system_role` in this installation."""
    config = op.get_context().config
    assert config is not None
    return '"' + config.attributes[name].replace('"', '""') + '"'
