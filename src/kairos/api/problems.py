"""Render errors as RFC 9457 problem documents."""

from __future__ import annotations

import logging
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kairos.api.components import component_of
from kairos.api.refusals import Refusals
from kairos.errors import KairosError, NotFound
from kairos.text import pointer_of

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 100
"""Errors listed in one response."""
FOR_ALL = {"X-Content-Type-Options": "nosniff"}
FOR_API = {**FOR_ALL, "Cache-Control": "no-store"}
"""Headers of every response, and of API responses: browsers must not guess the type, nor cache API responses."""


class BodyTooLarge(KairosError):
    """The request body is larger than {limit} bytes. Send less, or raise `server.body_limit_bytes`."""

    status, code, exit_code = 413, "body_too_large", 2


class RateLimited(KairosError):
    """Too many attempts. Wait {seconds} s and try again."""

    status, code, exit_code = 429, "rate_limited", 7


class InputError(BaseModel):
    """An invalid value of a request."""

    pointer: str = Field(description="Path of the value in the body, such as `/checks/format`, or its parameter.")
    detail: str


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str = Field(description="The problem and its remedy.")
    code: str = Field(description="Stable name of the problem.")
    instance: str = Field(description="Path of the request.")
    errors: list[InputError] = Field([], description=f"The first {MOST_ERRORS} invalid values.")


DESCRIPTIONS = {
    400: "The request is malformed.",
    401: "The credential is missing or not valid.",
    403: "The credential does not allow this.",
    404: "The object does not exist in this project.",
    409: "The state of the object does not allow this.",
    413: "The body is too large.",
    422: "The input is invalid.",
    429: "Too many attempts.",
    502: "A model server did not answer.",
    503: "A required component is unavailable.",
}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problem documents that a route may return, for its OpenAPI entry. `openapi.py` adds the components."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": DESCRIPTIONS[status], "content": content} for status in statuses}


def install(app: FastAPI) -> None:
    app.add_exception_handler(KairosError, _kairos_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _defect)


def problem(
    status: int, code: str, title: str, detail: str, instance: str, headers: Any = None, **more: Any
) -> Response:
    body = {"type": f"urn:kairos:problem:{code}", "title": title, "status": status, "detail": detail, "code": code}
    content = orjson.dumps({**body, "instance": instance, **more}, default=str)
    return Response(content, status, headers={**FOR_API, **(headers or {})}, media_type=MEDIA_TYPE)


def problem_of(error: KairosError, instance: str) -> Response:
    """The problem document of an error."""
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    if error.status in (429, 503):
        headers["Retry-After"] = str(error.values.get("seconds", 5))
    return problem(error.status, error.code, error.title(), error.public(), instance, headers)


async def _kairos_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, KairosError)
    if isinstance(error, NotFound):
        _note(request, error)
    if error.status >= 500:
        log.warning("%s %s: %s", request.method, _route(request), error)
    return problem_of(error, request.url.path)


def _note(request: Request, error: NotFound) -> None:
    """Record a denied access for the audit log. It is looked up after the response, which does not depend on it."""
    who = getattr(request.state, "principal", None)
    if who is not None:
        component_of(request, Refusals).note(who.user_id, who.project_id, error)


async def _invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [{"pointer": pointer_of(e["loc"]), "detail": _message(e)} for e in error.errors()[:MOST_ERRORS]]
    detail = "; ".join(f"{e['pointer']}: {e['detail']}" for e in errors[:3])
    detail = f"{detail}. Correct the input; /api/openapi.json describes it."
    return problem(422, "invalid_input", "Invalid input", detail, request.url.path, errors=errors)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, KairosError):  # FastAPI wraps errors raised while it reads a body
        return await _kairos_error(request, error.__cause__)
    if error.status_code == 400:  # FastAPI's status for a body that is not text; for other invalid JSON it uses 422
        detail = "The body is not valid JSON in UTF-8. Correct it; /api/openapi.json describes the expected body."
        return problem(422, "invalid_input", "Invalid input", detail, request.url.path)
    title = {404: "Not found", 405: "Method not allowed"}.get(error.status_code, "Request refused")
    detail = {
        404: f"There is nothing at {request.url.path}. /api/openapi.json lists all paths.",
        405: f"{request.method} is not allowed at {request.url.path}. /api/openapi.json lists the allowed methods.",
    }.get(error.status_code, str(error.detail))
    code = title.lower().replace(" ", "_")
    return problem(error.status_code, code, title, detail, request.url.path, error.headers)


async def _defect(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, _route(request), exc_info=error)
    detail = "An internal error occurred. Nothing was changed; the daemon's log has the traceback."
    return problem(500, "internal_error", "Internal error", detail, request.url.path)


def _route(request: Request) -> str:
    """The path template of the route, so that the log contains no text chosen by the caller."""
    return getattr(request.scope.get("route"), "path", "an unknown path")


def _message(error: Any) -> str:
    """The message of a pydantic error, which calls the characters of a validated text items."""
    if error["type"] in ("too_long", "too_short") and isinstance(error["input"], str):
        return error["msg"].replace("Value", "Text").replace(" items", " characters").replace(" item ", " character ")
    return error["msg"].removeprefix("Value error, ")


class BodyLimit:
    """Middleware that refuses bodies over the limit, with or without a Content-Length."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self._limit:
            return await self._refuse(scope, receive, send)
        read = 0

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._limit:
                raise BodyTooLarge(limit=self._limit)
            return message

        await self._app(scope, limited, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = BodyTooLarge(limit=self._limit)
        answer = problem(error.status, error.code, error.title(), str(error), scope["path"], {"Connection": "close"})
        await answer(scope, receive, send)
