"""Validate requests: JSON bodies whose values can all be stored, and addresses without NUL."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn
from urllib.parse import unquote_to_bytes

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from kairos.api.problems import problem
from kairos.errors import InvalidInput
from kairos.text import LARGEST_INTEGER, SMALLEST_INTEGER, faults_in

LONGEST_INTEGER = len(str(SMALLEST_INTEGER))
"""Digits including the sign. Longer literals are refused without parsing, which takes quadratic time."""
REMEDY = "Correct the input; /api/openapi.json describes it"


class UnstorableAddress(InvalidInput):
    """{where}: {problem}. {remedy}"""


class JsonRoute(APIRoute):
    """A route that reads its JSON body with `parsed`. Every router of the API uses it, which a test checks."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handle(JsonRequest(request.scope, request.receive))

        return strict


class JsonRequest(Request):
    async def json(self) -> Any:
        return parsed(await self.body())


def parsed(body: bytes) -> Any:
    """The JSON document. Raises `InvalidInput` if it is not valid JSON or contains values that cannot be stored."""
    try:
        value = json.loads(body.decode("utf-8-sig"), parse_int=_integer, parse_float=_float, parse_constant=_constant)
    except UnicodeDecodeError:
        _refuse("body", "it is not UTF-8")
    except RecursionError:
        _refuse("body", "it is nested too deeply")
    except json.JSONDecodeError as error:
        _refuse(f"body, character {error.pos}", f"it is not valid JSON: {error.msg}")
    for pointer, fault in faults_in(value):
        _refuse(f"body/{pointer}" if pointer else "body", fault)
    return value


def _integer(literal: str) -> int:
    if len(literal) <= LONGEST_INTEGER and SMALLEST_INTEGER <= (value := int(literal)) <= LARGEST_INTEGER:
        return value
    _refuse("body", f"the integer {literal[:24]}… has more than 64 bits")


def _float(literal: str) -> float:
    value = float(literal)
    if value - value != 0:
        _refuse("body", f"the number {literal[:24]} is too large")
    return value


def _constant(name: str) -> NoReturn:
    _refuse("body", f"{name} is not a JSON number")


def _refuse(where: str, fault: str) -> NoReturn:
    raise InvalidInput(where=_printable(where), problem=_printable(fault), remedy=REMEDY) from None


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


class StorableAddress:
    """Middleware that refuses requests with NUL in the path or the query."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (where := _place_of_nul(scope)):
            error = UnstorableAddress(where=where, problem="it contains a NUL character", remedy=REMEDY)
            answer = problem(error.status, error.code, error.title(), str(error), _printable(scope["path"]))
            return await answer(scope, receive, send)
        if scope["type"] == "websocket" and _place_of_nul(scope):
            return await send({"type": "websocket.close", "code": 1008})
        return await self._app(scope, receive, send)


def _place_of_nul(scope: Scope) -> str | None:
    if "\x00" in scope["path"]:
        return "path"
    return "query" if b"\x00" in unquote_to_bytes(scope.get("query_string", b"")) else None
