"""What can be wrong with an answer, and the errors that servers report inside of one."""

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
"""Letters in the type or code of an error inside an answer, and the status it would have come with before one."""
STATUS_BY_MESSAGE = {"rate limit": 429, "too many requests": 429, "context length": 400, "context size": 400}
"""The same for errors that have a message and nothing else."""
_NUMBERS = ("code", "status", "status_code", "statusCode", "http_status")
_NAMES = ("type", "code", "status", "name", "reason")


class AnswerFault(Exception):
    """What is wrong with an answer."""


class InvalidAnswer(AnswerFault):
    """It is not an answer of this protocol."""


class StreamCut(AnswerFault):
    """The stream ended too early."""


class BadFinishReason(AnswerFault):
    """The server ended the answer itself, for a reason that leaves it incomplete."""

    def __init__(self, ending: Ending, word: str) -> None:
        words = "withheld by the server's filter" if ending is Ending.WITHHELD else "not a complete answer"
        super().__init__(f"it ended with the finish reason {excerpt(word)!r}, which means {words}")
        self.ending = ending


class AnswerTooLong(AnswerFault):
    def __init__(self, limit: int) -> None:
        super().__init__(f"it is longer than {limit} bytes, which is all Kairos takes")


class ReportedError(AnswerFault):
    """The server itself reported_error an error in its answer."""

    def __init__(self, http_status: int, reason: str) -> None:
        super().__init__(reason)
        self.http_status = http_status


def reported_error(value: Mapping[str, Any]) -> ReportedError | None:
    """The error that an object in an answer is, beyond doubt; None for any other object."""
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
    """The error that an object without choices may be: it counts where no answer follows."""
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
    """The status among the fields of an error. Its code is a status with some servers, a word with others."""
    for key in _NUMBERS:
        number = fields.get(key)
        if isinstance(number, (int, str)) and str(number).isdecimal() and 400 <= int(str(number)[:9]) < 600:
            return int(number)
    return None


def _status_by_name(*places: Mapping[str, Any]) -> int | None:
    names = " ".join(str(place.get(name)) for place in places for name in _NAMES).lower()
    letters = "".join(c for c in names if c.isalpha())
    return next((status for word, status in STATUS_BY_NAME.items() if word in letters), None)


def _status_by_message(reason: str) -> int | None:
    words = reason.lower()
    return next((status for part, status in STATUS_BY_MESSAGE.items() if part in words), None)
