"""Each log event is one line whatever it contains, and contains no values of database rows."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from io import StringIO

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from kairos import logs
from kairos.db.engine import Database
from kairos.embedded import Addresses
from kairos.tenancy import NOBODY
from tests.unit.test_printable import unsafe_characters

FORGED = "x\n12:00:00 INFO    kairos.api: admin signed in\r\x1b[2K\u202e\u2028"
CANARY = "-".join(("canary", "7"))  # joined, because a traceback shows source lines
LINE = re.compile(r"^\d\d:\d\d:\d\d \w+ +[\w.]+: ")


@pytest.fixture
def log() -> Iterator[StringIO]:
    """Return the output of a logger with the daemon's formatter."""
    written, handler = StringIO(), logging.StreamHandler()
    handler.setFormatter(logs.LineFormatter(logs.FORMAT, datefmt="%H:%M:%S"))
    handler.setStream(written)
    logger = logging.getLogger("test")
    logger.addHandler(handler)
    yield written
    logger.removeHandler(handler)


def events(written: str) -> list[str]:
    return [line for line in written.splitlines() if LINE.match(line)]


@given(st.text(st.characters(exclude_categories=()), max_size=40))
def test_any_message_is_one_line(message: str):
    record = logging.LogRecord("test", logging.INFO, "", 1, "text %s", (message,), None)
    line = logs.LineFormatter(logs.FORMAT).format(record)
    assert unsafe_characters(line) == []


def test_message_cannot_forge_a_line(log: StringIO):
    logging.getLogger("test").warning("task type %s", FORGED)
    assert len(log.getvalue().splitlines()) == len(events(log.getvalue())) == 1


def test_exception_cannot_forge_a_line_and_keeps_its_traceback(log: StringIO):
    try:
        try:
            raise ValueError(FORGED)
        except ValueError as error:
            raise RuntimeError(f"again {FORGED}") from error
    except RuntimeError:
        logging.getLogger("test").exception("failed")
    written = log.getvalue()
    assert len(events(written)) == 1
    assert all(line.startswith("  ") for line in written.splitlines()[1:])
    assert "test_exception_cannot_forge_a_line_and_keeps_its_traceback" in written
    assert written.index("ValueError") < written.index("RuntimeError")
    assert set(unsafe_characters(written)) == {"\n"}


def test_all_exceptions_of_a_group_are_shown(log: StringIO):
    try:
        raise ExceptionGroup("several", [ValueError(FORGED), TypeError("other")])
    except ExceptionGroup:
        logging.getLogger("test").exception("failed")
    assert "ValueError" in log.getvalue()
    assert "TypeError: other" in log.getvalue()
    assert len(events(log.getvalue())) == 1


def test_circular_causes_are_shown_once(log: StringIO):
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    logging.getLogger("test").error("failed", exc_info=one)
    assert log.getvalue().count("ValueError") == 2


@pytest.mark.parametrize(
    "statement",
    [
        "select :canary::uuid",
        "select :canary::int",
        "select cast(:canary as json)",
        "select cast(:canary as timestamptz)",
        "insert into users (id, email, name) values (gen_random_uuid(), null, :canary)",
        "insert into users (id, email, name) values (:canary, 'x', 'y')",
        "select * from no_such_table where a = :canary",
    ],
)
def test_no_value_of_a_statement_is_logged(addresses: Addresses, log: StringIO, statement: str):
    engine = create_engine(addresses.migration_url, hide_parameters=True)
    try:
        with engine.begin() as connection:
            connection.execute(text(statement.replace("::", "\\:\\:")), {"canary": CANARY})
    except Exception:
        logging.getLogger("test").exception("failed")
    engine.dispose()
    assert CANARY not in log.getvalue()
    assert "psycopg" in log.getvalue()


async def test_database_errors_contain_no_values(database: Database):
    """Other code may log the error, and it may reach a caller."""
    with pytest.raises(DBAPIError) as failed:
        async with database.scope(NOBODY) as session:
            await session.execute(text("select * from no_such_table where a = :canary"), {"canary": CANARY})
    assert "no_such_table" in str(failed.value)
    assert CANARY not in str(failed.value)


def test_failed_connection_is_logged_with_its_reason(log: StringIO):
    try:
        psycopg.connect("host=127.0.0.1 port=1 connect_timeout=1")
    except psycopg.OperationalError:
        logging.getLogger("test").exception("failed")
    assert "refused" in log.getvalue()


def test_duplicate_is_logged_without_its_values(addresses: Addresses, log: StringIO):
    url = make_url(addresses.migration_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as connection:
        connection.execute("create temp table t (email text unique)")
        connection.execute("insert into t values (%s)", [CANARY])
        try:
            connection.execute("insert into t values (%s)", [CANARY])
        except psycopg.Error:
            logging.getLogger("test").exception("failed")
    assert CANARY not in log.getvalue()
    assert "t_email_key" in log.getvalue()
