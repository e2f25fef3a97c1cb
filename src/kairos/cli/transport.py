"""Send HTTP requests of the command line to one server, and turn its error responses into exceptions.

Uses the standard library: a command sends few requests, and importing an HTTP library would delay it.
"""

from __future__ import annotations

import html
import http.client
import json
import os
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, ClassVar

from kairos.cli.addresses import is_loopback
from kairos.errors import InvalidInput, KairosError

TIMEOUT_S = 30
DOWNLOAD_TIMEOUT_S = 3600
"""Until the first byte: the server may create the file before sending it."""
MOST_REFUSAL_BYTES = 1_000_000
EXCERPT = 200


class NotRunning(KairosError):
    """Kairos is not running at {address}: {reason}. Start it with `kairos start`, or set another address with --url."""

    status, code, exit_code = 503, "not_running", 3


class NotKairos(KairosError):
    """The server at {address} is not Kairos: {reason}. Check the address, and any proxy before it."""

    status, code, exit_code = 502, "not_kairos", 3


class Redirected(KairosError):
    """{address} redirects to {target}. The command line does not follow redirects, because its requests contain your
    credentials. If that address is correct, set it with --url."""

    status, code, exit_code = 502, "redirected", 3


class Refused(KairosError):
    """{detail}"""

    exit_codes: ClassVar[dict[int, int]] = {401: 6, 403: 6, 404: 4, 409: 5, 413: 2, 422: 2, 429: 7, 503: 3}

    def __init__(self, status: int, code: str, detail: str, answer: dict[str, Any] | None = None) -> None:
        super().__init__(detail=detail)
        self.http_status = status
        self.problem_code = code
        self.answer = answer
        """The body, if it was a JSON object."""

    @property
    def exit(self) -> int:
        return self.exit_codes.get(self.http_status, 1)


class Transport:
    """Sends requests to one address. Follows no redirects, and uses no proxy for loopback addresses."""

    def __init__(self, address: str) -> None:
        self.address = address
        proxies = [urllib.request.ProxyHandler({})] if is_loopback(address) else []
        self._opener = urllib.request.build_opener(*proxies, _NoRedirects, _HttpHandler, _HttpsHandler)

    def send(
        self, method: str, path: str, content: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        """The JSON of the response; None for an empty body.

        Raises `Refused`, `NotRunning`, `NotKairos`, `Redirected`.
        """
        with self._opened(self._request(method, path, content, headers), TIMEOUT_S) as reply:
            try:
                text = reply.read()
            except (OSError, http.client.HTTPException) as error:
                raise NotRunning(address=self.address, reason=_reason(error)) from None
        try:
            return json.loads(text) if text else None
        except (ValueError, RecursionError):
            raise NotKairos(address=self.address, reason=f"it sent {_excerpt(text) or 'no text'!r}") from None

    def save(self, path: str, headers: Mapping[str, str], target: Path) -> int:
        """Download to a file, which is created only when complete; returns its size. Raises the errors of `send`."""
        part = target.with_name(f".{target.name}.part")
        request = self._request("GET", path, None, headers)
        try:
            with self._opened(request, DOWNLOAD_TIMEOUT_S) as reply, _private(part) as file:
                self._copy(reply, file)
            part.replace(target)
        except OSError as error:
            raise InvalidInput(
                where=target, problem=f"it cannot be written: {_reason(error)}", remedy="Choose another file"
            ) from None
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
        return target.stat().st_size

    def _copy(self, reply: Any, file: IO[bytes]) -> None:
        try:
            shutil.copyfileobj(reply, file)
        except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
            raise NotRunning(address=self.address, reason=_reason(error)) from None
        whole = reply.headers.get("Content-Length")
        if whole and file.tell() != int(whole):
            raise NotRunning(address=self.address, reason="the connection was closed before the end of the file")

    def _request(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str] | None
    ) -> urllib.request.Request:
        # An id entered by the user may contain any character; a request line must not.
        url = self.address + urllib.parse.quote(path, safe="/?&=%#:@!$'()*+,;~[]", errors="surrogatepass")
        given = {"User-Agent": "kairos-cli", **(headers or {})}
        for name, value in given.items():
            if not (value.isascii() and value.isprintable()):
                problem = "a header may contain only printable ASCII characters"
                raise InvalidInput(where=name, problem=problem, remedy="Choose another value")
        return urllib.request.Request(url, content, given, method=method)

    def _opened(self, request: urllib.request.Request, timeout_s: float) -> Any:
        try:
            return self._opener.open(request, timeout=timeout_s)
        except urllib.error.HTTPError as error:
            raise _refused(error, self.address) from None
        except (OSError, http.client.HTTPException, ValueError) as error:  # URLError is an OSError
            raise NotRunning(address=self.address, reason=_reason(error)) from None


def json_body(value: Any) -> bytes:
    """JSON in UTF-8, without escapes, which would triple the size of non-Latin text. Raises `InvalidInput`."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        problem = "it contains bytes that are not UTF-8, or half of a surrogate pair"
    except ValueError:
        problem = "JSON has no NaN and no infinity"
    raise InvalidInput(where="input", problem=problem, remedy="Correct the value")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Disables redirects: urllib would send the Authorization header with the token to the new address."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:
        return None


class _EarlyResponse:
    """Reads the response even if sending the body fails: a server that refuses a large body responds and closes the
    connection before it has read the body."""

    def request(self, *arguments: Any, **options: Any) -> None:
        try:
            super().request(*arguments, **options)  # type: ignore[misc]
        except (BrokenPipeError, ConnectionResetError):
            if getattr(self, "sock", None) is None:
                raise


class _HttpConnection(_EarlyResponse, http.client.HTTPConnection):
    pass


class _HttpsConnection(_EarlyResponse, http.client.HTTPSConnection):
    pass


class _HttpHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_HttpConnection, req)


class _HttpsHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_HttpsConnection, req)


def _refused(error: urllib.error.HTTPError, address: str) -> KairosError:
    text = b""
    with suppress(OSError, http.client.HTTPException):
        text = error.read(MOST_REFUSAL_BYTES)
    if 300 <= error.code < 400:
        return Redirected(address=address, target=error.headers.get("Location") or "another address")
    answer = None
    with suppress(ValueError, RecursionError):
        answer = json.loads(text)
    if not isinstance(answer, dict):
        excerpt = _excerpt(text)
        message = f"{address} answered {error.code} {error.reason}".rstrip() + (f": {excerpt}" if excerpt else "")
        return Refused(error.code, "http_error", message)
    detail = answer.get("detail") or answer.get("message") or answer.get("error")
    return Refused(error.code, str(answer.get("code") or "http_error"), _detail_text(detail, error.code), answer)


def _detail_text(detail: Any, status: int) -> str:
    if isinstance(detail, str):
        return detail
    return f"The server answered {status}" + (f": {json.dumps(detail, ensure_ascii=False)[:1000]}" if detail else "")


def _excerpt(text: bytes) -> str:
    """The beginning of a response that is not JSON, without HTML tags."""
    plain = text[: 20 * EXCERPT].decode(errors="replace")
    if "<" in plain:
        plain = html.unescape(re.sub(r"(?s)<(style|script)\b.*?</\1\s*>|<[^>]*>", " ", plain))
    plain = " ".join(plain.split())
    return plain if len(plain) <= EXCERPT else plain[: EXCERPT - 1] + "…"


def _reason(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    return str(getattr(reason, "strerror", None) or reason) or type(error).__name__


def _private(path: Path) -> IO[bytes]:
    """A new file that only its owner can read."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
