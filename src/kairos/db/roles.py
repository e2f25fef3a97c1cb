"""Creates the three database roles with `roles.sql`, the file that an operator can also run with psql."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from typing import LiteralString, cast

import psycopg
from psycopg import sql


@dataclass(frozen=True, slots=True)
class RolePasswords:
    """The passwords of the three roles."""

    owner: str
    app: str
    system: str


def create_roles(connection: psycopg.Connection, passwords: RolePasswords) -> None:
    """Create the roles and grant their rights in the connected database. Safe to repeat."""
    values = {f"{field.name}_password": getattr(passwords, field.name) for field in fields(passwords)}
    # Hashed here, so that passwords never appear in a statement log.
    hashed = {
        name: connection.pgconn.encrypt_password(value.encode(), b"", b"scram-sha-256").decode()
        for name, value in values.items()
    }

    def literal(match: re.Match[str]) -> str:
        return sql.Literal(hashed[match[1]]).as_string(connection)

    # Replaces psql's :'name'. All statements are sent in one message and run in one transaction.
    statements = re.sub(r":'(\w+)'", literal, roles_statements())
    connection.execute(cast(LiteralString, statements))


@cache
def roles_statements() -> str:
    return resources.files("kairos.db").joinpath("roles.sql").read_text()
