"""The three database roles, made from `roles.sql`, the file that an operator runs with psql."""

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
    """One for each role."""

    owner: str
    app: str
    system: str


def create_roles(connection: psycopg.Connection, passwords: RolePasswords) -> None:
    """Make the roles and give them their rights in the database that is connected to. It may be repeated."""
    values = {f"{field.name}_password": getattr(passwords, field.name) for field in fields(passwords)}
    # Hashed here, so that no log of statements ever holds a password.
    hashed = {
        name: connection.pgconn.encrypt_password(value.encode(), b"", b"scram-sha-256").decode()
        for name, value in values.items()
    }

    def literal(match: re.Match[str]) -> str:
        return sql.Literal(hashed[match[1]]).as_string(connection)

    # psql's :'name'. The statements go in one message, and so in one transaction.
    statements = re.sub(r":'(\w+)'", literal, roles_statements())
    connection.execute(cast(LiteralString, statements))


@cache
def roles_statements() -> str:
    return resources.files("kairos.db").joinpath("roles.sql").read_text()
