"""Values sent in every field of the API appear in no log line and in no error message for another caller.

Control characters in these fields cannot forge a log line. Both hold when the database rejects the statement.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from io import StringIO
from itertools import count
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from kairos import logs
from kairos.embedded import Addresses
from tests.kit.api import Caller, Reply
from tests.kit.kairos_app import KairosApp
from tests.unit.test_printable import unsafe_characters

CANARY = "can" + "ary"
FORGED = "\n12:00:00 INFO    kairos.api: forged \x1b[31m\u202e"
NUMBERS = count()
NOWHERE = "00000000-0000-7000-8000-000000000000"
ENDING = ("/logout", "/logout-everywhere", "/password", "/daemons")
"""Routes that would end the session with which the test calls the others."""
DRIVERS = re.compile(
    r"psycopg|sqlalchemy|QueuePool|\b(SELECT|INSERT|UPDATE)\b|DETAIL:|redis://|postgresql[+:]|:\d{5}\b"
)
"""Text of drivers, statements and addresses that no error message may contain."""


@pytest.fixture
def log() -> Iterator[StringIO]:
    """Everything that is logged, in the daemon's format."""
    written, root = StringIO(), logging.getLogger()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logs.LineFormatter(logs.FORMAT, datefmt="%H:%M:%S"))
    handler.addFilter(lambda record: not record.name.startswith(("asyncio", "aiohttp", "tests")))
    before, level = root.level, logging.getLogger("kairos").level
    root.addHandler(handler)
    logging.getLogger("kairos").setLevel(logging.DEBUG)
    yield written
    logging.getLogger("kairos").setLevel(level)
    root.setLevel(before)
    root.removeHandler(handler)


class Filler:
    """Generates values for a schema, with the marker in every string."""

    def __init__(self, description: Mapping[str, Any], marker: str) -> None:
        self._schemas = description["components"]["schemas"]
        self._marker = marker

    def value(self, schema: Mapping[str, Any], depth: int = 0) -> Any:
        schema = self._resolved(schema)
        if depth > 6:
            return None
        if "enum" in schema or "const" in schema:
            return schema.get("const", schema.get("enum", [None])[0])
        kind = schema.get("type")
        made = {
            "string": self._text,
            "integer": lambda found: max(found.get("minimum", 1), 1),
            "number": lambda found: max(found.get("minimum", 0.5), 0.5),
            "boolean": lambda found: False,
        }
        if kind in made:
            return made[kind](schema)
        if kind == "array":
            return [self.value(schema.get("items", {}), depth + 1)]
        if kind == "object" and "properties" in schema:
            return {name: self.value(inner, depth + 1) for name, inner in schema["properties"].items()}
        return {self._marker: self._marker} if kind == "object" else self._marker

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        while True:
            if "$ref" in schema:
                schema = self._schemas[schema["$ref"].rpartition("/")[2]]
            elif inner := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
                schema = next((one for one in inner if one.get("type") != "null"), inner[0])
            else:
                return schema

    def _text(self, schema: Mapping[str, Any]) -> str:
        if schema.get("format") in ("uuid", "date-time"):
            return {"uuid": "00000000-0000-7000-8000-000000000000", "date-time": "2026-01-01T00:00:00Z"}[
                schema["format"]
            ]
        text = f"{self._marker}@example.org" if "@" in schema.get("pattern", "") else self._marker
        return text[: schema.get("maxLength", 1000)]


async def call_all_operations(caller: Caller, marker: str) -> AsyncIterator[tuple[str, Reply]]:
    """Call each operation with the marker in body, query, path and headers, and yield the replies."""
    description = (await caller.get("/api/openapi.json")).body
    filler = Filler(description, marker)
    headers = {
        "X-Odd": marker,
        "User-Agent": marker,
        "Idempotency-Key": f"{marker}{next(NUMBERS)}",
        "traceparent": marker,
    }
    headers["Connection"] = "close"  # the server closes it after an error, which would break the next request
    headers = {name: re.sub(r"[^\x20-\x7e]", "", value) for name, value in headers.items()}
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            if path.endswith(ENDING):
                continue
            inner = operation.get("requestBody", {}).get("content", {}).get("application/json")
            body = filler.value(inner["schema"]) if inner else None
            query = {each["name"]: marker for each in operation.get("parameters", []) if each["in"] == "query"}
            known = re.sub(r"{\w+}", NOWHERE, path)
            odd = re.sub(r"{\w+}", marker.replace("/", ""), path)
            for place, parameters in distinct_requests(method, (known, {}), (known, query), (odd, {})):
                options = {"json": body} if body is not None else {}
                yield (
                    f"{method} {path}",
                    await caller.call(method.upper(), place, params=parameters, headers=headers, **options),
                )


def distinct_requests(method: str, *requests: tuple[str, dict[str, str]]) -> list[tuple[str, dict[str, str]]]:
    """Leave out repeated GET requests. Other methods are repeated, as the first call may have created something."""
    return [request for n, request in enumerate(requests) if method != "get" or request not in requests[:n]]


@asynccontextmanager
async def rejecting_rows(addresses: Addresses, *tables: str) -> AsyncIterator[None]:
    """Make the database reject every new row of these tables, with a message that quotes the row."""
    url = make_url(addresses.migration_url).set(drivername="postgresql").render_as_string(hide_password=False)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for table in tables:
            await connection.execute(f"alter table {table} add constraint refused check (false) not valid")  # pyright: ignore
        try:
            yield
        finally:
            for table in tables:
                await connection.execute(f"alter table {table} drop constraint refused")  # pyright: ignore


def check_error_reply(operation_name: str, reply: Reply, markers: list[str]) -> None:
    if reply.status < 400:
        return
    text = str(reply.body)
    assert not DRIVERS.search(text), (operation_name, text)
    assert not any(marker in text for marker in markers), (operation_name, text)


async def test_request_values_are_neither_logged_nor_returned_to_others(owner: Caller, app: KairosApp, log: StringIO):
    markers: list[str] = []
    for _ in range(2):  # the second round finds what the first one stored
        marker = f"{CANARY}{next(NUMBERS)}x"
        async for operation_name, reply in call_all_operations(owner, marker):
            check_error_reply(operation_name, reply, markers)
        markers.append(marker)
    assert CANARY not in log.getvalue(), [line for line in log.getvalue().splitlines() if CANARY in line]


async def test_request_values_are_not_logged_when_the_database_rejects_a_row(
    owner: Caller, app: KairosApp, addresses: Addresses, log: StringIO
):
    """PostgreSQL's DETAIL quotes the whole row."""
    marker, failed = f"{CANARY}{next(NUMBERS)}x", 0
    async with rejecting_rows(addresses, "tasks", "projects", "invitations", "api_keys", "config_versions", "users"):
        async for operation_name, reply in call_all_operations(owner, marker):
            check_error_reply(operation_name, reply, [marker] if reply.status >= 500 else [])
            failed += reply.status == 500
    assert failed >= 3, "the database rejected nothing"
    assert "CheckViolation" in log.getvalue()
    assert CANARY not in log.getvalue(), [line for line in log.getvalue().splitlines() if CANARY in line]


async def test_control_characters_cannot_forge_log_lines(
    owner: Caller, app: KairosApp, addresses: Addresses, log: StringIO
):
    async with rejecting_rows(addresses, "tasks"):
        async for _ in call_all_operations(owner, f"x{FORGED}"):
            pass
    assert not any(line.startswith("12:00:00") and "forged" in line for line in log.getvalue().splitlines())
    assert set(unsafe_characters(log.getvalue())) <= {"\n"}
