"""Stored providers in tests: operators, and requests to the endpoints."""

from __future__ import annotations

from typing import Any

import psycopg
from sqlalchemy import text
from sqlalchemy.engine import make_url

from kairos.db.engine import Database
from kairos.db.repositories.access import people
from kairos.embedded import Addresses
from kairos.tenancy import Scope, UserId, new_id
from tests.kit.api import Caller, Reply, signed_in
from tests.kit.kairos_app import KairosApp
from tests.kit.model_server import ModelServer

KEY = "sk-tests-4f1d7a90c2be83"
"""A key that nothing else in the tests contains."""


async def new_operator(app: KairosApp) -> UserId:
    """Create an operator who is the owner of the application's project."""
    user_id = UserId(new_id())
    async with app.database.scope(Scope(app.project_id, user_id, operator=True)) as session:
        await people.add_user(session, user_id, f"{user_id}@test", "Op", operator=True)
        await session.execute(
            text("insert into memberships (project_id, user_id, role) values (:p, :u, 'owner')"),
            {"p": app.project_id, "u": user_id},
        )
    return user_id


async def operator_of(app: KairosApp, caller: Caller) -> Caller:
    return await signed_in(app.parts, caller, await new_operator(app), app.project_id)


def draft(address: str, **fields: Any) -> dict[str, Any]:
    """The body of a new provider with a key."""
    return {"name": "Scripted", "kind": "openai-compatible", "address": address, "key": KEY, **fields}


async def create(operator: Caller, cloud: ModelServer, *models: str, **fields: Any) -> Reply:
    """Store a provider with a key and some of its models, each under its own name."""
    provider = await operator.post("/api/providers", draft(cloud.base_url, **fields))
    assert provider.status == 201, provider.body
    if models:
        body = {"models": [{"upstream": model, "name": model} for model in models]}
        provider = await operator.post(f"/api/providers/{provider['id']}/models", body)
        assert provider.status == 201, provider.body
    return provider


async def delete_all(database: Database) -> None:
    """Delete the shared providers."""
    async with database.scope(Scope(user_id=UserId(new_id()), operator=True)) as session:
        await session.execute(text("delete from providers"))


def dump(addresses: Addresses) -> str:
    """All rows of all tables as text, as in a dump of the database."""
    url = make_url(addresses.migration_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "select c.oid::regclass::text from pg_class c where c.relnamespace = 'public'::regnamespace "
            "and c.relkind in ('r', 'p') and not c.relispartition"
        ).fetchall()
        assert len(tables) > 25
        parts = []
        for (table,) in tables:
            rows = connection.execute(f"select t::text from {table} t".encode()).fetchall()
            parts += [row for (row,) in rows]
    return "\n".join(parts)
