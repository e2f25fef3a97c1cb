"""Errors and limits of calls to other servers, and helpers for their addresses."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit, urlunsplit

from kairos.errors import KairosError


class CallPhase(StrEnum):
    """The event that a call waits for."""

    CONNECT = "the connection"
    FIRST_BYTE = "the first byte"
    IDLE = "the next bytes"
    TOTAL = "the end of the answer"


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Limits on a server's response: seconds and bytes."""

    connect_s: float = 5.0
    first_byte_s: float = 30.0
    """From the start of the call, including the connection."""
    idle_s: float = 30.0
    total_s: float | None = None
    body_bytes: int = 4 * 1024 * 1024


class HttpError(KairosError):
    """The call to {address} failed: {reason}."""

    status, code, exit_code = 502, "http_error", 3
    retryable = True


class HttpUnreachable(HttpError):
    """{address} cannot be reached: {reason}. Check the address, and that the server there is running."""

    code = "http_unreachable"


class HttpTimeout(HttpError):
    """The call to {address} was abandoned after {seconds:.1f} s of waiting for {phase}."""

    status, code = 504, "http_timeout"

    def __init__(self, *, address: str, phase: CallPhase, seconds: float) -> None:
        self.phase = phase
        self.seconds = seconds
        super().__init__(address=address, phase=phase, seconds=seconds)


class HttpStatus(HttpError):
    """{address} answered {http_status}: {reason}."""

    code = "http_status"

    def __init__(
        self, *, address: str, http_status: int, reason: str, retry_after_s: float | None, body: bytes = b""
    ) -> None:
        self.http_status = http_status
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.body = body
        """The body of the response, cut to `ERROR_BODY_BYTES`; it may repeat the request."""
        super().__init__(address=address, http_status=http_status, reason=reason)


class HttpTooLarge(HttpError):
    """{address} sent more than {limit} bytes, the limit for one response."""

    code, retryable = "http_too_large", False


class HttpGarbled(HttpError):
    """{address} answered with something that is not {expected}: {excerpt}."""

    code, retryable = "http_garbled", False


class HttpCut(HttpError):
    """{address} closed the connection in the middle of its response: {reason}."""

    code = "http_cut"


class HttpForbidden(HttpError):
    """{address} is not called: {reason}, and it was chosen by a project. An operator can allow it
    (`{key}`).
    """

    status, code, retryable = 422, "http_forbidden", False


def joined(base_url: str, path: str) -> str:
    """The address of a path below a base address; the query of the base is kept (Azure: `…/v1?api-version=…`)."""
    parts = urlsplit(base_url)
    return urlunsplit((parts.scheme, parts.netloc, f"{parts.path.rstrip('/')}/{path}", parts.query, ""))


def server_root(base_url: str) -> str:
    """The address of a model server without the version path of the OpenAI API, with its query."""
    parts = urlsplit(base_url)
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/").removesuffix("/v1"), parts.query, ""))


def plain_address(url: str) -> str:
    """An address without credentials, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that cannot be read"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.scheme else parts.path
