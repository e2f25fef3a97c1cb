"""Counts the statements that are sent to PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from kairos.db.engine import Database


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """Yield a list to which the statements of the app role are added. An executemany counts once per parameter set."""
    sent: list[str] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, ___: Any, executemany: bool) -> None:
        sent.extend([statement] * (len(parameters) if executemany else 1))

    engine = database._app.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)
