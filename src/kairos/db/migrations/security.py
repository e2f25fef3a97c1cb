"""The sentences about rights that migrations are made of, so that no table can have half of them.

The roles' names come with the migration's connection (`db/schema.py`): installations choose their own.
"""

from __future__ import annotations

from alembic import op

PROJECT_SCOPE = "project_id = nullif(current_setting('kairos.project_id', true), '')::uuid"


def isolate_by_project(table: str) -> None:
    """Rows of the project in scope, and no others, for every role but the owner's own migrations."""
    policy(table, PROJECT_SCOPE)
    grant(table, "select, insert, update, delete")


def policy(table: str, using: str, check: str | None = None) -> None:
    """One policy for everybody, and one for the owner, whom FORCE binds too: without it data migrations do nothing."""
    op.execute(f"alter table {table} enable row level security")
    op.execute(f"alter table {table} force row level security")
    op.execute(f"create policy scope on {table} using ({using}) with check ({check or using})")
    op.execute(f"create policy owner on {table} to current_user using (true) with check (true)")


def grant(table: str, rights: str) -> None:
    op.execute(f"grant {rights} on {table} to {role_name('app_role')}")


def grant_lookup(signature: str, returns: str, body: str) -> None:
    """A function of the owner that the app role may call: a question that must be answered before a scope exists."""
    _define(signature, returns, body)
    _allow(signature, "app_role")


def system_function(signature: str, returns: str | None, body: str | None) -> None:
    """A function that the system role may call; with no body it exists already."""
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
    """`app_role` or `system_role` as this installation names it, quoted."""
    config = op.get_context().config
    assert config is not None
    return '"' + config.attributes[name].replace('"', '""') + '"'
