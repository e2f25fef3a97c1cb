"""Replaces characters that PostgreSQL cannot store, in every parameter of every statement.

Requests are validated by the API. Other text comes from servers, tools and programs (answers, findings, events, errors)
and may contain NUL or lone surrogates, which must not prevent a result from being stored.
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
    """Dumps text as psycopg does, with U+FFFD in place of characters that PostgreSQL rejects."""

    def dump(self, obj: str) -> Buffer | None:
        try:
            return super().dump(obj)
        except (DataError, UnicodeEncodeError):
            return super().dump(storable(obj))


def json_for_storage(value: Any) -> str:
    """Serialize a value to JSON that JSONB accepts. Raises `TypeError` if it is not serializable."""
    try:
        text = orjson.dumps(value)
    except TypeError:
        text = orjson.dumps(storable_value(value))
    if b"\\u0000" in text:
        text = orjson.dumps(storable_value(value))
    return text.decode()


def store_any_text(engine: AsyncEngine) -> None:
    """Use `StorableText` on all connections of an engine."""

    @event.listens_for(engine.sync_engine, "connect")
    def register(connection: Any, record: object) -> None:
        connection.adapters.register_dumper(str, StorableText)
