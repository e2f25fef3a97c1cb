"""The errors that Kairos raises: types with a status, a code, and a message that names the problem and the remedy.

The first paragraph of an error's docstring is its message; `{names}` in it are filled from the keywords given to
the constructor. `api/problems.py` renders errors as RFC 9457 problem documents, `cli/app.py` as a line on standard
error with the exit code.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable
from typing import ClassVar


class KairosError(Exception):
    """An internal error occurred."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False
    """Whether a later attempt may succeed: a task that fails with this error is queued again."""

    def __init__(self, **values: object) -> None:
        self.values = values
        super().__init__(self._message().format(**values))

    def public(self) -> str:
        """The message for API clients, without addresses and driver messages of this machine."""
        return str(self)

    @classmethod
    def _message(cls) -> str:
        paragraph = inspect.cleandoc(cls.__doc__ or cls.code).split("\n\n")[0]
        return " ".join(paragraph.split())

    @classmethod
    def title(cls) -> str:
        """The kind of problem as text, the same for every instance (RFC 9457, 3.1.3)."""
        return cls.code.replace("_", " ").capitalize()


class NotFound(KairosError):
    """There is no {what} {id} in this project. List them to see those that exist."""

    status, code, exit_code = 404, "not_found", 4


class InvalidInput(KairosError):
    """{where}: {problem}. {remedy}"""

    status, code, exit_code = 422, "invalid_input", 2


class Conflict(KairosError):
    """{what} cannot be done now: {reason}. {remedy}"""

    status, code, exit_code = 409, "conflict", 5


class LimitReached(KairosError):
    """There are already {most} {what}, which is the limit. Remove some, or raise `{key}`."""

    status, code, exit_code = 409, "limit_reached", 5


class EngineUnavailable(KairosError):
    """{engine} at {address} cannot be reached: {reason}. {remedy}"""

    status, code, exit_code = 503, "engine_unavailable", 3
    retryable = True

    def public(self) -> str:
        return f"{self.values['engine']} does not answer. Try again in a while; the daemon's log has the cause."


def did_you_mean(word: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """The remedy that suggests the nearest known name, or None if none is similar."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=likeness)
    return f"Did you mean {near[0]!r}?" if near else None
