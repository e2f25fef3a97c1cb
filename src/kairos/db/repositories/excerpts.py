"""Excerpts of long columns, cut by PostgreSQL, so that a list page does not load megabytes for each row."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Text, case, cast, func, literal_column
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import InstrumentedAttribute

EXCERPT = 1_000
"""Characters of a text in lists."""
ITEMS = 10
"""Elements of a JSON array in lists."""


def text(column: InstrumentedAttribute[Any]) -> ColumnElement[Any]:
    """The beginning of a text."""
    return func.left(column, EXCERPT).label(column.key)


def document(column: InstrumentedAttribute[Any], *kept: str) -> ColumnElement[Any]:
    """A short JSON object as a whole; else the beginnings of these values."""
    values = [part for key in kept for part in (key, func.left(column[key].astext, EXCERPT))]
    return case((_short(column), column), else_=func.jsonb_build_object(*values)).label(column.key)


def whole_or_text(column: InstrumentedAttribute[Any], key: str) -> ColumnElement[Any]:
    """A short JSON object as a whole; else the beginning of its text under this key."""
    cut = func.jsonb_build_object(key, func.left(cast(column, Text), EXCERPT))
    return case((_short(column), column), else_=cut).label(column.key)


def messages(column: InstrumentedAttribute[Any]) -> ColumnElement[Any]:
    """A short JSON array of chat messages as a whole; else the beginnings of the first messages."""
    name = f"{column.class_.__tablename__}.{column.key}"
    cut = literal_column(  # built from constants only
        "(select coalesce(jsonb_agg(jsonb_build_object("  # noqa: S608
        f"'role', left(m ->> 'role', 100), 'content', left(m ->> 'content', {EXCERPT})) order by i), '[]')"
        f" from jsonb_array_elements(jsonb_path_query_array({name}, '$[0 to {ITEMS - 1}]'))"
        " with ordinality as x (m, i) where jsonb_typeof(m) = 'object')",
        JSONB,
    )
    return case((_short(column), column), else_=cut).label(column.key)


def array(column: InstrumentedAttribute[Any]) -> ColumnElement[Any]:
    """The first elements of a JSON array."""
    return func.jsonb_path_query_array(column, literal_column(f"'$[0 to {ITEMS - 1}]'::jsonpath")).label(column.key)


def _short(column: InstrumentedAttribute[Any]) -> ColumnElement[bool]:
    return (func.length(cast(column, Text)) <= EXCERPT) | column.is_(None)
