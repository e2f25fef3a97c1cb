"""The one place where text is made fit for PostgreSQL: every parameter of every statement passes here.

Requests are validated at the edge. Everything else that is stored comes from servers, tools and programs: answers,
findings, events, errors. A NUL or half a surrogate pair in one of them must not cost a task its result.
"""

from __future__ import annotations

from typing import Any

import orjson
from psycopg import DataError
from psycopg.abc import Buffer
from psycopg.types.string import StrDumperUnknown
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from kairos.storable_text import storable, storable_value


class StorableText(StrDumperUnknown):
    """Writes text as psycopg does, with U+FFFD in place of what PostgreSQL refuses."""

    def dump(self, obj: str) -> Buffer | None:
        try:
            return super().dump(obj)
        except (DataError, UnicodeEncodeError):
            return super().dump(storable(obj))


def json_for_storage(value: Any) -> str:
    """A value as JSON that JSONB takes. Raises `TypeError` for what is not JSON."""
    try:
        text = orjson.dumps(value)
    except TypeError:
        text = orjson.dumps(storable_value(value))
    if b"\\u0000" in text:
        text = orjson.dumps(storable_value(value))
    return text.decode()


def store_any_text(engine: AsyncEngine) -> None:
    """Let each connection of an engine write text so."""

    @event.listens_for(engine.sync_engine, "connect")
    def register(connection: Any, record: object) -> None:
        connection.adapters.register_dumper(str, StorableText)
