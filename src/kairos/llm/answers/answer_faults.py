"""Faults of answers, and the errors that servers report inside an answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from kairos.http import error_message, excerpt
from kairos.llm.answers.finish_reason import Ending

STATUS_BY_NAME = {
    "ratelimit": 429,
    "toomanyrequests": 429,
    "resourceexhausted": 429,
    "insufficientquota": 429,
    "quotaexceeded": 429,
    "invalidrequest": 400,
    "invalidargument": 400,
    "badrequest": 400,
    "contextlength": 400,
    "contextsize": 400,
    "contextwindow": 400,
    "authentication": 401,
    "unauthorized": 401,
    "unauthenticated": 401,
    "invalidapikey": 401,
    "permission": 403,
    "forbidden": 403,
    "notfound": 404,
    "overloaded": 503,
    "unavailable": 503,
}
"""HTTP status by letters in the type or code of an error inside an answer."""
STATUS_BY_MESSAGE = {"rate limit": 429, "too many requests": 429, "context length": 400, "context size": 400}
"""HTTP status by text in the message, for errors with only a message."""
_NUMBERS = ("code", "status", "status_code", "statusCode", "http_status")
_NAMES = ("type", "code", "status", "name", "reason")


class AnswerFault(Exception):
    """An answer is incomplete or invalid."""


class InvalidAnswer(AnswerFault):
    """The answer does not follow the protocol."""


class StreamCut(AnswerFault):
    """The stream ended before the answer was complete."""


class BadFinishReason(AnswerFault):
    """The server ended the answer early, with a finish reason other than `stop` or `length`."""

    def __init__(self, ending: Ending, reason: str) -> None:
        meaning = "withheld by the server's filter" if ending is Ending.WITHHELD else "not complete"
        super().__init__(f"it ended with the finish reason {excerpt(reason)!r}: the answer is {meaning}")
        self.ending = ending


class AnswerTooLong(AnswerFault):
    def __init__(self, limit: int) -> None:
        super().__init__(f"it exceeds the limit of {limit} bytes")


class ProviderFault(AnswerFault):
    """The code of a plugin's provider failed."""


class ReportedError(AnswerFault):
    """The server reported an error inside its answer."""

    def __init__(self, http_status: int, reason: str) -> None:
        super().__init__(reason)
        self.http_status = http_status


def reported_error(value: Mapping[str, Any]) -> ReportedError | None:
    """Return the error if an object in an answer is definitely one, else None."""
    if error := value.get("error"):
        return _error(error, value)
    if value.get("choices"):
        return next((_error(choice["error"], value) for choice in _choices(value) if choice.get("error")), None)
    if value.get("errors"):
        return _error(value["errors"][0] if isinstance(value["errors"], list) else value["errors"], value)
    names_error = any("error" in str(value.get(key)).lower() for key in ("object", "type", "code", "event"))
    if names_error or ("message" in value and _status_number(value)):
        return _error(value, value)
    return None


def possible_error(value: Mapping[str, Any]) -> ReportedError | None:
    """Return the error that an object without choices may be. It counts only if no answer follows."""
    return _error(value, value) if error_message(value) and not value.get("choices") else None


def _choices(value: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    choices = value["choices"]
    return (choice for choice in choices if isinstance(choice, dict)) if isinstance(choices, list) else iter(())


def _error(error: Any, around: Mapping[str, Any]) -> ReportedError:
    reason = error_message({"error": error}) or error_message(error) or error_message(around)
    reason = reason or excerpt(json.dumps(error, ensure_ascii=False))
    fields = error if isinstance(error, Mapping) else {}
    status = _status_number(fields) or _status_number(around)
    return ReportedError(status or _status_by_name(fields, around) or _status_by_message(reason) or 500, reason)


def _status_number(fields: Mapping[str, Any]) -> int | None:
    """Return the HTTP status in the fields of an error. Depending on the server, its code is a status or a name."""
    for key in _NUMBERS:
        number = fields.get(key)
        if isinstance(number, (int, str)) and str(number).isdecimal() and 400 <= int(str(number)[:9]) < 600:
            return int(number)
    return None


def _status_by_name(*places: Mapping[str, Any]) -> int | None:
    names = " ".join(str(place.get(name)) for place in places for name in _NAMES).lower()
    letters = "".join(c for c in names if c.isalpha())
    return next((status for name, status in STATUS_BY_NAME.items() if name in letters), None)


def _status_by_message(reason: str) -> int | None:
    message = reason.lower()
    return next((status for part, status in STATUS_BY_MESSAGE.items() if part in message), None)
