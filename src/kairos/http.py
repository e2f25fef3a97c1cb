"""HTTP to other servers: one session for the whole process, and a limit on everything a server could do to it.

The only place that knows aiohttp. Redirects are never followed, so a credential reaches the host it is for and no
other; messages name an address without its query, and never a credential, even where the server repeats it.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Self, cast

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver
from yarl import URL

from kairos import __version__
from kairos.host_literals import literal
from kairos.http_errors import (
    HttpCut,
    HttpError,
    HttpForbidden,
    HttpGarbled,
    HttpLimits,
    HttpStatus,
    HttpTimeout,
    HttpTooLarge,
    HttpUnreachable,
    Phase,
    joined,
    plain_address,
    server_root,
)
from kairos.proxies import DIRECT, Proxies
from kairos.public_addresses import PublicResolver, must_be_public, not_public

__all__ = [
    "HttpAnswer",
    "HttpClient",
    "HttpCut",
    "HttpError",
    "HttpForbidden",
    "HttpGarbled",
    "HttpLimits",
    "HttpStatus",
    "HttpTimeout",
    "HttpTooLarge",
    "HttpUnreachable",
    "Phase",
    "error_words",
    "excerpt",
    "joined",
    "parse_json",
    "plain_address",
    "server_root",
]

CONNECTIONS = 512
KEEP_ALIVE_S = 4.0
"""Below the 5 s after which uvicorn, Node and cpp-httplib close an idle connection: a request sent into a closing
connection fails, and a POST may not simply be sent again."""
DNS_CACHE_S = 60
STALE_S = 1.0
"""A used connection that is lost this soon, without a byte of an answer, had been closed before we wrote to it."""
DRAIN_S = 0.05
ERROR_BODY_BYTES = 64 * 1024
EXCERPT_LENGTH = 300


class HttpAnswer:
    """An answer whose status was good and whose body is still to be read."""

    def __init__(self, response: aiohttp.ClientResponse, clock: _Clock, address: str, limits: HttpLimits) -> None:
        self.content_type = response.content_type
        self.framed = _is_framed(response.headers)
        """Whether the connection marks the end of the body, so that a server which died is not taken for one that
        finished. A compressed body counts as unmarked: aiohttp does not see that its last block is missing."""
        self._response = response
        self._clock = clock
        self._address = address
        self._limits = limits
        self._received = 0

    async def read(self, *, idle_s: float | None = None, begun: bool = True) -> bytes:
        """The bytes that are there, or the next ones; empty at the end.

        `begun=False`: what came so far was no content, so the limit for the first byte goes on running.
        """
        if begun:
            self._clock.allow(Phase.IDLE, self._limits.idle_s if idle_s is None else idle_s)
        else:
            self._clock.resume_first()
        try:
            chunk = await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise HttpCut(address=self._address, reason=_words(error)) from error
        self._clock.pause()
        self._received += len(chunk)
        if self._received > self._limits.body_bytes:
            raise HttpTooLarge(address=self._address, limit=self._limits.body_bytes)
        return chunk

    async def body(self) -> bytes:
        """All of it."""
        chunks = []
        while chunk := await self.read(begun=bool(chunks)):
            chunks.append(chunk)
        return b"".join(chunks)

    async def drain(self) -> None:
        """Wait a moment for the formal end of a body whose content is complete, so that the connection can be kept."""
        content = self._response.content
        with suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(DRAIN_S):
                while not content.at_eof():
                    await content.readany()


class HttpClient:
    """The session that all calls share: `async with HttpClient() as http`."""

    def __init__(
        self,
        traceparent: Callable[[], str | None] | None = None,
        *,
        proxies: Proxies = DIRECT,
        private_hosts: Callable[[], Sequence[str]] = tuple,
        resolver: AbstractResolver | None = None,
    ) -> None:
        """`traceparent` is asked at each call for the W3C trace context to pass on. `private_hosts` gives the names,
        addresses and networks that calls with `public_only` reach although they are not public; `resolver` replaces
        the system's for those calls."""
        self._private_hosts = private_hosts
        self._resolver = resolver
        self._public: aiohttp.ClientSession | None = None
        """Connects to nothing but public addresses, and keeps no connection."""
        self._traceparent = traceparent
        self._proxies = proxies
        self._session: aiohttp.ClientSession | None = None
        self._fresh: aiohttp.ClientSession | None = None
        """Makes a new connection for each call."""

    async def __aenter__(self) -> Self:
        reuse = aiohttp.TraceConfig()
        reuse.on_connection_reuseconn.append(_note_reuse)
        self._session = _session(keepalive_timeout=KEEP_ALIVE_S, trace=reuse)
        self._fresh = _session(force_close=True)
        resolver = cast(
            AbstractResolver, PublicResolver(self._resolver or aiohttp.DefaultResolver(), self._private_hosts)
        )
        self._public = _session(force_close=True, resolver=resolver, use_dns_cache=False)
        return self

    async def __aexit__(self, *exception: object) -> None:
        for session in (self._session, self._fresh, self._public):
            if session:
                await session.close()

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        body: bytes | Path | None = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        limits: HttpLimits = HttpLimits(),
        public_only: bool = False,
    ) -> AsyncIterator[HttpAnswer]:
        """Make a call and read its answer as it comes; `token` goes out as a bearer token.

        A body that is a `Path` is sent from that file piece by piece; `OSError` where it cannot be opened.
        Left before the end, by an error or a cancel, it closes the connection at once. Raises `HttpStatus` for any
        status but 2xx, and the other `HttpError`s. Everything inside the `async with` counts for the total limit.

        With `public_only` the address that is connected to must be a public one, else `HttpForbidden`. Such a call goes
        through no proxy: which address that would connect to cannot be seen from here.
        """
        address = plain_address(url)
        clock = _Clock(limits)
        response: aiohttp.ClientResponse | None = None
        try:
            async with clock:
                sent = self._headers(body, token, headers)
                if public_only:
                    response = await self._request_public(method, url, body, sent, limits)
                elif isinstance(body, Path):
                    response = await self._send_file(method, url, body, sent, limits)
                else:
                    response = await self._request(method, url, body, sent, limits)
                answer = HttpAnswer(response, clock, address, limits)
                if not 200 <= response.status < 300:
                    raise await _refusal(response, answer, address, token)
                yield answer
        except TimeoutError as error:
            if not clock.expired:
                raise
            raise HttpTimeout(address=address, phase=clock.phase, seconds=clock.waited()) from error
        finally:
            if response is not None:
                response.release() if response.content.at_eof() else response.close()

    async def get_json(
        self,
        url: str,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        limits: HttpLimits = HttpLimits(),
        public_only: bool = False,
    ) -> Any:
        """The JSON at an address."""
        call = self.stream("GET", url, token=token, headers=headers, limits=limits, public_only=public_only)
        async with call as answer:
            return parse_json(await answer.body(), plain_address(url))

    async def post_json(
        self,
        url: str,
        value: Any,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        limits: HttpLimits = HttpLimits(),
        public_only: bool = False,
    ) -> Any:
        """Send a value as JSON; the JSON that comes back."""
        body = orjson.dumps(value)
        call = self.stream("POST", url, body=body, token=token, headers=headers, limits=limits, public_only=public_only)
        async with call as answer:
            return parse_json(await answer.body(), plain_address(url))

    async def _request(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], limits: HttpLimits
    ) -> aiohttp.ClientResponse:
        """Send a request, once more on a new connection where a used one turns out to be closed.

        llama.cpp closes after each streamed answer without saying so, and any server may close an idle connection in
        the moment it is used again. The request was not read then, so sending it again is safe (RFC 9110, 9.2.2).
        """
        if self._session is None or self._fresh is None:
            raise RuntimeError("the HttpClient is not open: use `async with HttpClient() as http`")
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_s)
        through = self._through(url, headers)
        used: list[bool] = []
        began = time.monotonic()
        try:
            try:
                return await self._session.request(
                    method,
                    url,
                    data=body,
                    timeout=timeout,
                    allow_redirects=False,
                    trace_request_ctx=used,
                    **through,
                )
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionResetError):
                if not used or time.monotonic() > began + STALE_S:
                    raise
            return await self._fresh.request(method, url, data=body, timeout=timeout, allow_redirects=False, **through)
        except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: an address that is none
            raise _unsent(error, url, limits) from error

    async def _request_public(
        self, method: str, url: str, body: bytes | Path | None, headers: Mapping[str, str], limits: HttpLimits
    ) -> aiohttp.ClientResponse:
        """Send a request to a public address: a written one is checked here, a name by the session's resolver."""
        if self._public is None:
            raise RuntimeError("the HttpClient is not open: use `async with HttpClient() as http`")
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_s)
        content = await asyncio.to_thread(body.read_bytes) if isinstance(body, Path) else body
        try:
            host = URL(url).host or ""
            if (address := literal(host)) is not None:
                must_be_public(host, address, self._private_hosts())
            return await self._public.request(
                method, url, data=content, headers=headers, timeout=timeout, allow_redirects=False
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if forbidden := not_public(error):
                raise HttpForbidden(address=plain_address(url), reason=str(forbidden)) from error
            raise _unsent(error, url, limits) from error

    async def _send_file(
        self, method: str, url: str, file: Path, headers: Mapping[str, str], limits: HttpLimits
    ) -> aiohttp.ClientResponse:
        """Send a file, on a new connection: what was read of it could not be sent again after a closed one."""
        if self._fresh is None:
            raise RuntimeError("the HttpClient is not open: use `async with HttpClient() as http`")
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_s)
        through = self._through(url, headers)
        content = await asyncio.to_thread(file.open, "rb")
        try:
            return await self._fresh.request(
                method, url, data=content, timeout=timeout, allow_redirects=False, **through
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _unsent(error, url, limits) from error
        finally:
            content.close()

    def _through(self, url: str, headers: Mapping[str, str]) -> dict[str, Any]:
        """Headers and proxy of a request, as aiohttp wants them. Raises `HttpUnreachable`."""
        proxy = self._proxies.for_url(url)
        if proxy is None:
            return {"headers": headers}
        if not proxy.spoken:
            fault = next(iter(self._proxies.faults), f"{proxy.url} is no HTTP proxy, and Kairos speaks to no other")
            raise HttpUnreachable(address=plain_address(url), reason=f"its proxy cannot be used: {fault}")
        if proxy.user is None:
            return {"headers": headers, "proxy": proxy.url}
        credentials = {"Proxy-Authorization": aiohttp.encode_basic_auth(proxy.user, proxy.password)}
        if url.lower().startswith("https:"):  # only the proxy gets them, with CONNECT
            return {"headers": headers, "proxy": proxy.url, "proxy_headers": credentials}
        return {"headers": {**headers, **credentials}, "proxy": proxy.url}

    def _headers(self, body: bytes | Path | None, token: str | None, given: Mapping[str, str] | None) -> dict[str, str]:
        headers = dict(given) if given else {}
        if body is not None:
            kind = "application/octet-stream" if isinstance(body, Path) else "application/json"
            headers.setdefault("Content-Type", kind)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if self._traceparent and (parent := self._traceparent()):
            headers["traceparent"] = parent
        return headers


class _Clock:
    """One timer for one call, moved from phase to phase; the total limit bounds every phase."""

    def __init__(self, limits: HttpLimits) -> None:
        self.phase = Phase.FIRST_BYTE
        self._loop = asyncio.get_running_loop()
        self._began = self._since = self._loop.time()
        self._first_at = self._began + limits.first_byte_s
        self._total_at = math.inf if limits.total_s is None else self._began + limits.total_s
        self._timeout = asyncio.timeout_at(min(self._first_at, self._total_at))
        if self._total_at <= self._first_at:
            self.phase = Phase.TOTAL

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        return self

    async def __aexit__(self, *exception: Any) -> bool | None:
        return await self._timeout.__aexit__(*exception)

    @property
    def expired(self) -> bool:
        return self._timeout.expired()

    def allow(self, phase: Phase, seconds: float) -> None:
        self._since = self._loop.time()
        self._until(phase, self._since + seconds)

    def resume_first(self) -> None:
        self._since = self._began
        self._until(Phase.FIRST_BYTE, self._first_at)

    def pause(self) -> None:
        """The caller is at work, not the server: only the total limit runs."""
        self._until(Phase.TOTAL, math.inf)

    def waited(self) -> float:
        return self._loop.time() - (self._began if self.phase is Phase.TOTAL else self._since)

    def _until(self, phase: Phase, at: float) -> None:
        self.phase = phase if at < self._total_at else Phase.TOTAL
        at = min(at, self._total_at)
        if not self._timeout.expired():
            self._timeout.reschedule(None if at == math.inf else at)


def _is_framed(headers: Mapping[str, str]) -> bool:
    """Whether a body has a length or comes in chunks (RFC 9112, 6.3), and is sent as it is."""
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        return False
    return "chunked" in headers.get("Transfer-Encoding", "").lower() or "Content-Length" in headers


def parse_json(body: bytes, address: str) -> Any:
    """The value of a JSON body. Raises `HttpGarbled`."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise HttpGarbled(address=address, expected="JSON", excerpt=excerpt(body)) from error


def excerpt(body: bytes | str) -> str:
    """The beginning of a body, on one line, for a message."""
    text = body[: EXCERPT_LENGTH * 4].decode(errors="replace") if isinstance(body, bytes) else body
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return (words[:EXCERPT_LENGTH] + " …" if len(words) > EXCERPT_LENGTH else words) or "an empty body"


def error_words(value: Any) -> str | None:
    """The message in an error body, in the shapes that servers of this protocol use; None where there is none."""
    if not isinstance(value, Mapping):
        return None
    for key in ("error", "message", "detail"):
        found = value.get(key)
        if isinstance(found, Mapping):
            found = found.get("message")
        if isinstance(found, str) and found.strip():
            return excerpt(found)
    return None


def _session(trace: aiohttp.TraceConfig | None = None, **connector: Any) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS, ttl_dns_cache=DNS_CACHE_S, **connector),
        cookie_jar=aiohttp.DummyCookieJar(),
        # Compressed, a stream of tokens would be held back, and a small body could become a huge one.
        headers={"User-Agent": f"kairos/{__version__}", "Accept-Encoding": "identity"},
        trace_configs=[trace] if trace else None,
    )


async def _note_reuse(session: aiohttp.ClientSession, context: Any, params: object) -> None:
    context.trace_request_ctx.append(True)


async def _refusal(response: aiohttp.ClientResponse, answer: HttpAnswer, address: str, token: str | None) -> HttpStatus:
    """The error for a status that is not 2xx. A redirect names where it leads: the address in use is an old one."""
    body = b""
    with suppress(HttpError):  # the status says enough when the body does not come
        while len(body) < ERROR_BODY_BYTES and (chunk := await answer.read()):
            body += chunk
    if location := response.headers.get("Location"):
        reason = f"it redirects to {plain_address(location)}, which is not followed"
    else:
        reason = _reason(body) if body.strip() else (response.reason or "without a word")
    if token:
        reason = reason.replace(token, "***")
    return HttpStatus(
        address=address,
        http_status=response.status,
        reason=reason.rstrip("."),
        retry_after_s=_retry_after(response.headers),
        body=body[:ERROR_BODY_BYTES],
    )


def _unsent(error: Exception, url: str, limits: HttpLimits) -> HttpError:
    """The error for a request that got no answer."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return HttpTimeout(address=plain_address(url), phase=Phase.CONNECT, seconds=limits.connect_s)
    return HttpUnreachable(address=plain_address(url), reason=_words(error))


def _reason(body: bytes) -> str:
    try:
        return error_words(orjson.loads(body)) or excerpt(body)
    except orjson.JSONDecodeError:
        return excerpt(body)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds until the server wants to be asked again (RFC 9110, 10.2.3, and OpenAI's header in milliseconds)."""
    for name, unit in (("retry-after-ms", 0.001), ("Retry-After", 1.0)):
        text = headers.get(name, "").strip()
        with suppress(ValueError):
            seconds = float(text) * unit
            if math.isfinite(seconds):
                return max(0.0, seconds)
    with suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(headers.get("Retry-After", "")).timestamp() - time.time())
    return None


def _words(error: BaseException) -> str:
    """An error in words. aiohttp's connector errors carry the system's own words deeper in."""
    if isinstance(error, aiohttp.InvalidURL):  # its own words are the whole address
        return "it is no valid HTTP address"
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return f"the proxy {error.host}:{error.port} cannot be reached ({_words(error.os_error)})"
    if isinstance(error, aiohttp.ClientHttpProxyError):  # its own words hold the headers
        return f"its proxy refused the connection with {error.status} {error.message}"
    if isinstance(error, aiohttp.ClientPayloadError):  # its own words are those of the parser
        return "the connection closed before the end"
    inner = getattr(error, "os_error", None) or error
    number = getattr(inner, "errno", None) or 0
    words = os.strerror(number) if number > 0 else getattr(inner, "strerror", None) or str(inner)
    return (words or type(inner).__name__).rstrip(".")
