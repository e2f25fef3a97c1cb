"""Logging to standard error: one line per event, with a time.

Logged text cannot forge or hide a line: control characters in it are escaped. Values of a statement in PostgreSQL's
error messages are omitted.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from kairos import printable

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
DATA_EXCEPTION = "22"
"""The class of SQLSTATEs whose message quotes the invalid value."""
MOST_CAUSES = 10


def configure(level: str) -> None:
    """Set up the root logger; noisy libraries log only warnings and errors."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter(FORMAT, datefmt="%H:%M:%S"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    for chatty in ("uvicorn.access", "uvicorn.error", "asyncio", "aiohttp", "sqlalchemy", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def set_level(level: str) -> None:
    """Set the lowest level that is logged."""
    logging.getLogger().setLevel(level.upper())


class LineFormatter(logging.Formatter):
    """One line per record, followed by the indented lines of a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        record.message = printable.one_line(record.getMessage())
        record.asctime = self.formatTime(record, self.datefmt)
        lines = [printable.one_line(self.formatMessage(record))]
        if record.exc_info:
            lines.append(self.formatException(record.exc_info))
        if record.stack_info:
            lines.append(_indented(record.stack_info.split("\n")))
        return "\n".join(lines)

    def formatException(self, ei: Any) -> str:
        """The tracebacks of an exception and its causes, the first cause first."""
        return _indented(line for error in reversed(list(_chain(ei[1]))) for line in _trace(error))


def described(error: BaseException) -> str:
    """An exception's type and message; for PostgreSQL's errors, without values of rows."""
    if (original := getattr(error, "orig", None)) is not None:  # SQLAlchemy's; its statement contains no values
        return f"{_name(error)}: {described(original)} [{getattr(error, 'statement', None)}]"
    if hasattr(error, "sqlstate") and hasattr(error, "diag"):
        return _of_postgresql(error)
    return "".join(traceback.format_exception_only(error)).rstrip("\n")


def reason_for_callers(error: BaseException) -> str:
    """An exception's message; a general one for errors of the database driver."""
    if hasattr(error, "orig") or hasattr(error, "sqlstate"):
        return "the database refused a statement"
    return str(error) or "no message"


def _of_postgresql(error: Any) -> str:
    """A PostgreSQL error without DETAIL and CONTEXT, which quote the row. Errors of libpq itself have no SQLSTATE."""
    if error.sqlstate is None:
        return f"{_name(error)}: {error}"
    hidden = error.sqlstate.startswith(DATA_EXCEPTION)
    message = "a value is not valid" if hidden else error.diag.message_primary
    places = (error.diag.table_name, error.diag.column_name, error.diag.constraint_name)
    return f"{_name(error)}: {message} ({', '.join([error.sqlstate, *filter(None, places)])})"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen and len(seen) < MOST_CAUSES:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _trace(error: BaseException) -> Iterator[str]:
    yield from _frames(error.__traceback__)
    yield described(error)
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from (f"  {line}" for line in _trace(inner))


def _frames(trace: TracebackType | None) -> Iterator[str]:
    for frame in traceback.format_tb(trace):
        yield from frame.rstrip("\n").split("\n")


def _indented(lines: Any) -> str:
    return "\n".join(f"  {printable.one_line(line)}" for line in lines)


def _name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
