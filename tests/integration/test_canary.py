"""A word sent through every field of the API comes back in no log line, and in no error of somebody else.

Control characters sent the same way forge no log line. Both hold when the database refuses the statement.
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
from tests.unit.test_printable import unseen

CANARY = "can" + "ary"
FORGED = "\n12:00:00 INFO    kairos.api: forged \x1b[31m\u202e"
NUMBERS = count()
NOWHERE = "00000000-0000-7000-8000-000000000000"
ENDING = ("/logout", "/logout-everywhere", "/password", "/replicas")
"""Routes that would end the session which asks for the others."""
DRIVERS = re.compile(
    r"psycopg|sqlalchemy|QueuePool|\b(SELECT|INSERT|UPDATE)\b|DETAIL:|redis://|postgresql[+:]|:\d{5}\b"
)
"""Words of drivers, statements and addresses."""


@pytest.fixture
def log() -> Iterator[StringIO]:
    """All that is logged, in the daemon's own form."""
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
    """Values for a schema, with the word in every text."""

    def __init__(self, description: Mapping[str, Any], word: str) -> None:
        self._schemas = description["components"]["schemas"]
        self._word = word

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
        return {self._word: self._word} if kind == "object" else self._word

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
        text = f"{self._word}@example.org" if "@" in schema.get("pattern", "") else self._word
        return text[: schema.get("maxLength", 1000)]


async def everything(caller: Caller, word: str) -> AsyncIterator[tuple[str, Reply]]:
    """The answer of each operation, asked with the word in its body, its query, its path and its headers."""
    description = (await caller.get("/api/openapi.json")).body
    filler = Filler(description, word)
    headers = {"X-Odd": word, "User-Agent": word, "Idempotency-Key": f"{word}{next(NUMBERS)}", "traceparent": word}
    headers["Connection"] = "close"  # after a defect the server closes it, which a next request would run into
    headers = {name: re.sub(r"[^\x20-\x7e]", "", value) for name, value in headers.items()}
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            if path.endswith(ENDING):
                continue
            inner = operation.get("requestBody", {}).get("content", {}).get("application/json")
            body = filler.value(inner["schema"]) if inner else None
            query = {each["name"]: word for each in operation.get("parameters", []) if each["in"] == "query"}
            known = re.sub(r"{\w+}", NOWHERE, path)
            odd = re.sub(r"{\w+}", word.replace("/", ""), path)
            for place, asked in ways(method, (known, {}), (known, query), (odd, {})):
                options = {"json": body} if body is not None else {}
                yield (
                    f"{method} {path}",
                    await caller.call(method.upper(), place, params=asked, headers=headers, **options),
                )


def ways(method: str, *all_ways: tuple[str, dict[str, str]]) -> list[tuple[str, dict[str, str]]]:
    """A second GET of the same address finds what the first one found; anything else may meet what it made itself."""
    return [way for n, way in enumerate(all_ways) if method != "get" or way not in all_ways[:n]]


@asynccontextmanager
async def refusing(addresses: Addresses, *tables: str) -> AsyncIterator[None]:
    """A database that refuses every new row of these tables, with a message that quotes the row."""
    url = make_url(addresses.migration_url).set(drivername="postgresql").render_as_string(hide_password=False)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for table in tables:
            await connection.execute(f"alter table {table} add constraint refused check (false) not valid")  # pyright: ignore
        try:
            yield
        finally:
            for table in tables:
                await connection.execute(f"alter table {table} drop constraint refused")  # pyright: ignore


def errors_repeat_nothing(asked: str, reply: Reply, words: list[str]) -> None:
    if reply.status < 400:
        return
    said = str(reply.body)
    assert not DRIVERS.search(said), (asked, said)
    assert not any(word in said for word in words), (asked, said)


async def test_no_word_of_a_caller_is_logged_or_told_to_others(owner: Caller, app: KairosApp, log: StringIO):
    words: list[str] = []
    for _ in range(2):  # the second time round, what the first one stored is there
        word = f"{CANARY}{next(NUMBERS)}x"
        async for asked, reply in everything(owner, word):
            errors_repeat_nothing(asked, reply, words)
        words.append(word)
    assert CANARY not in log.getvalue(), [line for line in log.getvalue().splitlines() if CANARY in line]


async def test_no_word_of_a_caller_is_logged_where_the_database_refuses(
    owner: Caller, app: KairosApp, addresses: Addresses, log: StringIO
):
    """PostgreSQL's DETAIL quotes the whole row."""
    word, failed = f"{CANARY}{next(NUMBERS)}x", 0
    async with refusing(addresses, "tasks", "projects", "invitations", "api_keys", "config_versions", "users"):
        async for asked, reply in everything(owner, word):
            errors_repeat_nothing(asked, reply, [word] if reply.status >= 500 else [])
            failed += reply.status == 500
    assert failed >= 3, "the database refused nothing"
    assert "CheckViolation" in log.getvalue()
    assert CANARY not in log.getvalue(), [line for line in log.getvalue().splitlines() if CANARY in line]


async def test_control_characters_forge_no_log_line(owner: Caller, app: KairosApp, addresses: Addresses, log: StringIO):
    async with refusing(addresses, "tasks"):
        async for _ in everything(owner, f"x{FORGED}"):
            pass
    assert not any(line.startswith("12:00:00") and "forged" in line for line in log.getvalue().splitlines())
    assert set(unseen(log.getvalue())) <= {"\n"}
