"""Errors as RFC 9457 problem documents, by one handler."""

from __future__ import annotations

import logging
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kairos.errors import KairosError, NotFound
from kairos.text import pointer_of

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 100
"""Listed of one request."""
FOR_ALL = {"X-Content-Type-Options": "nosniff"}
FOR_API = {**FOR_ALL, "Cache-Control": "no-store"}
"""Headers of every answer, and of those of the API: browsers must not guess their type, nor keep what they say."""


class BodyTooLarge(KairosError):
    """The request's body is larger than {limit} bytes. Send less, or raise `server.body_limit_bytes`."""

    status, code, exit_code = 413, "body_too_large", 2


class RateLimited(KairosError):
    """Too many tries. Wait {seconds} s and try again."""

    status, code, exit_code = 429, "rate_limited", 7


PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "instance": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {"type": "object", "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}}},
        },
    },
}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problem documents that a route may answer with, for its OpenAPI entry."""
    words = {
        400: "The request is malformed.",
        401: "No valid credential.",
        403: "The credential does not allow this.",
        404: "There is no such thing in this project.",
        409: "Its state does not allow this.",
        413: "The body is too large.",
        422: "The input is invalid.",
        429: "Too many tries.",
        503: "A part that is needed is away.",
    }
    content = {MEDIA_TYPE: {"schema": PROBLEM_SCHEMA}}
    return {status: {"description": words[status], "content": content} for status in statuses}


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
    """For the audit log, looked up once the answer is on its way; the answer is the same whatever is found."""
    who = getattr(request.state, "principal", None)
    if who is not None:
        request.app.state.services.refusals.note(who.user_id, who.project_id, error)


async def _invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [{"pointer": pointer_of(e["loc"]), "detail": _said(e)} for e in error.errors()[:MOST_ERRORS]]
    detail = "; ".join(f"{e['pointer']}: {e['detail']}" for e in errors[:3])
    detail = f"{detail}. Correct the input; /api/openapi.json describes it."
    return problem(422, "invalid_input", "Invalid input", detail, request.url.path, errors=errors)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, KairosError):  # FastAPI wraps what goes wrong while it reads a body
        return await _kairos_error(request, error.__cause__)
    if error.status_code == 400:  # what FastAPI says of a body that is no text at all; of other bad JSON it says 422
        detail = "The body is not JSON in UTF-8. Correct it; /api/openapi.json describes what is expected."
        return problem(422, "invalid_input", "Invalid input", detail, request.url.path)
    title = {404: "Not found", 405: "Method not allowed"}.get(error.status_code, "Request refused")
    detail = {
        404: f"There is nothing at {request.url.path}. /api/openapi.json lists what there is.",
        405: f"{request.method} is not possible at {request.url.path}. /api/openapi.json lists what is.",
    }.get(error.status_code, str(error.detail))
    code = title.lower().replace(" ", "_")
    return problem(error.status_code, code, title, detail, request.url.path, error.headers)


async def _defect(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, _route(request), exc_info=error)
    detail = "Kairos met a defect of its own. Nothing was changed; the daemon's log has the trace."
    return problem(500, "internal_error", "Internal error", detail, request.url.path)


def _route(request: Request) -> str:
    """The route's own path, for the log: what a caller put into the address stays out of it."""
    return getattr(request.scope.get("route"), "path", "an unknown path")


def _said(error: Any) -> str:
    """What pydantic found. It counts the characters of a text with a validator as items."""
    if error["type"] in ("too_long", "too_short") and isinstance(error["input"], str):
        return error["msg"].replace("Value", "Text").replace(" items", " characters").replace(" item ", " character ")
    return error["msg"].removeprefix("Value error, ")


class BodyLimit:
    """Refuses bodies over the limit, also those that come without a Content-Length."""

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
