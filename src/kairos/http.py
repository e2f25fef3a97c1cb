"""HTTP client for other servers: one session for the whole process, with limits on time and size.

The only module that imports aiohttp. Redirects are never followed, so a credential reaches only the host it is meant
for. Error messages contain addresses without their query, and never a credential, even if the server repeats it.
"""

from __future__ import annotations

import asyncio
import math
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self, cast

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver
from yarl import URL

from kairos import __version__
from kairos.host_literals import literal
from kairos.http_bodies import error_message, excerpt, parse_json, retry_after
from kairos.http_errors import (
    CallPhase,
    HttpCut,
    HttpError,
    HttpForbidden,
    HttpGarbled,
    HttpLimits,
    HttpStatus,
    HttpTimeout,
    HttpTooLarge,
    HttpUnreachable,
    joined,
    plain_address,
    server_root,
)
from kairos.http_tls import trusting
from kairos.proxies import DIRECT, Proxies
from kairos.public_addresses import PublicResolver, must_be_public, not_public

__all__ = [
    "CallPhase",
    "HttpClient",
    "HttpCut",
    "HttpError",
    "HttpForbidden",
    "HttpGarbled",
    "HttpLimits",
    "HttpResponse",
    "HttpStatus",
    "HttpTimeout",
    "HttpTooLarge",
    "HttpUnreachable",
    "error_message",
    "excerpt",
    "joined",
    "parse_json",
    "plain_address",
    "server_root",
]

CONNECTIONS = 512
KEEP_ALIVE_S = 4.0
"""Below the 5 s after which uvicorn, Node and cpp-httplib close an idle connection: a request on a closing connection
fails, and a POST cannot safely be repeated."""
DNS_CACHE_S = 60
STALE_S = 1.0
"""If a reused connection is lost this soon without a byte of a response, it was closed before the request was sent."""
DRAIN_S = 0.05
ERROR_BODY_BYTES = 64 * 1024


class HttpResponse:
    """A response with a 2xx status whose body has not been read yet."""

    def __init__(self, response: aiohttp.ClientResponse, clock: _Clock, address: str, limits: HttpLimits) -> None:
        self.content_type = response.content_type
        self.framed = _is_framed(response.headers)
        """Whether the end of the body is marked, so that a truncated body is detected. A compressed body counts as
        unmarked: aiohttp does not detect that its last block is missing."""
        self._response = response
        self._clock = clock
        self._address = address
        self._limits = limits
        self._received = 0

    async def read(self, *, idle_s: float | None = None, begun: bool = True) -> bytes:
        """The available bytes, or the next ones; empty at the end.

        `begun=False` means that no content has arrived so far: the limit for the first byte still applies.
        """
        if begun:
            self._clock.allow(CallPhase.IDLE, self._limits.idle_s if idle_s is None else idle_s)
        else:
            self._clock.resume_first()
        try:
            chunk = await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise HttpCut(address=self._address, reason=_error_text(error)) from error
        self._clock.pause()
        self._received += len(chunk)
        if self._received > self._limits.body_bytes:
            raise HttpTooLarge(address=self._address, limit=self._limits.body_bytes)
        return chunk

    async def body(self) -> bytes:
        """The whole body."""
        chunks = []
        while chunk := await self.read(begun=bool(chunks)):
            chunks.append(chunk)
        return b"".join(chunks)

    async def drain(self) -> None:
        """Wait up to `DRAIN_S` for the end of a body whose content is complete, to make the connection reusable."""
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
        private_hosts_key: str = "plugins.private_hosts",
        resolver: AbstractResolver | None = None,
    ) -> None:
        """`traceparent` returns the W3C trace context to send with a call. `private_hosts` returns the names, addresses
        and networks outside the public internet that calls with `public_only` may reach, `private_hosts_key` is the
        setting with them; `resolver` replaces the system's resolver for those calls."""
        self._private_hosts = private_hosts
        self._private_hosts_key = private_hosts_key
        self._resolver = resolver
        self._public: aiohttp.ClientSession | None = None
        """Connects to public addresses only, on a new connection for each call."""
        self._traceparent = traceparent
        self._proxies = proxies
        self._session: aiohttp.ClientSession | None = None
        self._fresh: aiohttp.ClientSession | None = None
        """Opens a new connection for each call."""

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
        ca: str | None = None,
    ) -> AsyncIterator[HttpResponse]:
        """Make a call and yield its response as a stream; `token` is sent as a bearer token.

        A `Path` as body is streamed from that file; raises `OSError` if it cannot be opened. Leaving the context before
        the end of the body closes the connection. Raises `HttpStatus` for any status but 2xx, and the other
        `HttpError`s. The total limit covers everything inside the `async with`.

        `ca` has certificates in PEM to trust in addition to the system's.

        With `public_only` the connected address must be public, else `HttpForbidden` is raised. Such a call uses no
        proxy, because the address that a proxy connects to cannot be checked.
        """
        address = plain_address(url)
        clock = _Clock(limits)
        response: aiohttp.ClientResponse | None = None
        try:
            async with clock:
                sent = self._headers(body, token, headers)
                tls = {"ssl": trusting(ca)} if ca else {}
                if public_only:
                    response = await self._request_public(method, url, body, sent, limits, tls)
                elif isinstance(body, Path):
                    response = await self._send_file(method, url, body, sent, limits, tls)
                else:
                    response = await self._request(method, url, body, sent, limits, tls)
                answer = HttpResponse(response, clock, address, limits)
                if not 200 <= response.status < 300:
                    raise await _status_error(response, answer, address, token)
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
        ca: str | None = None,
    ) -> Any:
        """GET an address; its JSON."""
        call = self.stream("GET", url, token=token, headers=headers, limits=limits, public_only=public_only, ca=ca)
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
        ca: str | None = None,
    ) -> Any:
        """POST a value as JSON; the JSON of the response."""
        body = orjson.dumps(value)
        call = self.stream(
            "POST", url, body=body, token=token, headers=headers, limits=limits, public_only=public_only, ca=ca
        )
        async with call as answer:
            return parse_json(await answer.body(), plain_address(url))

    async def _request(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
        limits: HttpLimits,
        tls: Mapping[str, Any],
    ) -> aiohttp.ClientResponse:
        """Send a request; repeat it once on a new connection if the reused one turns out to be closed.

        llama.cpp closes the connection after each streamed response without announcing it, and any server may close an
        idle connection at the moment of its reuse. The server has not read the request then, so repeating it is safe
        (RFC 9110, 9.2.2).
        """
        if self._session is None or self._fresh is None:
            raise RuntimeError("the HttpClient is not open: use `async with HttpClient() as http`")
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_s)
        through = {**self._proxy_options(url, headers), **tls}
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
        except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: an invalid address
            raise _connection_error(error, url, limits) from error

    async def _request_public(
        self,
        method: str,
        url: str,
        body: bytes | Path | None,
        headers: Mapping[str, str],
        limits: HttpLimits,
        tls: Mapping[str, Any],
    ) -> aiohttp.ClientResponse:
        """Send a request to a public address: IP addresses are checked here, names by the session's resolver."""
        if self._public is None:
            raise RuntimeError("the HttpClient is not open: use `async with HttpClient() as http`")
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_s)
        content = await asyncio.to_thread(body.read_bytes) if isinstance(body, Path) else body
        try:
            host = URL(url).host or ""
            if (address := literal(host)) is not None:
                must_be_public(host, address, self._private_hosts())
            return await self._public.request(
                method, url, data=content, headers=headers, timeout=timeout, allow_redirects=False, **tls
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if forbidden := not_public(error):
                raise HttpForbidden(
                    address=plain_address(url), reason=str(forbidden), key=self._private_hosts_key
                ) from error
            raise _connection_error(error, url, limits) from error

    async def _send_file(
        self,
        method: str,
        url: str,
        file: Path,
        headers: Mapping[str, str],
        limits: HttpLimits,
        tls: Mapping[str, Any],
    ) -> aiohttp.ClientResponse:
        """Send a file on a new connection: a half-sent file could not be repeated after a stale connection."""
        if self._fresh is None:
            raise RuntimeError("the HttpClient is not open: use `async with HttpClient() as http`")
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_s)
        through = {**self._proxy_options(url, headers), **tls}
        content = await asyncio.to_thread(file.open, "rb")
        try:
            return await self._fresh.request(
                method, url, data=content, timeout=timeout, allow_redirects=False, **through
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _connection_error(error, url, limits) from error
        finally:
            content.close()

    def _proxy_options(self, url: str, headers: Mapping[str, str]) -> dict[str, Any]:
        """The headers and proxy of a request, as keyword arguments for aiohttp. Raises `HttpUnreachable`."""
        proxy = self._proxies.for_url(url)
        if proxy is None:
            return {"headers": headers}
        if not proxy.supported:
            fault = next(iter(self._proxies.faults), f"{proxy.url} is not an HTTP proxy, the only supported kind")
            raise HttpUnreachable(address=plain_address(url), reason=f"its proxy cannot be used: {fault}")
        if proxy.user is None:
            return {"headers": headers, "proxy": proxy.url}
        credentials = {"Proxy-Authorization": aiohttp.encode_basic_auth(proxy.user, proxy.password)}
        if url.lower().startswith("https:"):  # sent to the proxy only, with CONNECT
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
    """The timer of one call, rescheduled for each phase; the total limit bounds every phase."""

    def __init__(self, limits: HttpLimits) -> None:
        self.phase = CallPhase.FIRST_BYTE
        self._loop = asyncio.get_running_loop()
        self._began = self._since = self._loop.time()
        self._first_at = self._began + limits.first_byte_s
        self._total_at = math.inf if limits.total_s is None else self._began + limits.total_s
        self._timeout = asyncio.timeout_at(min(self._first_at, self._total_at))
        if self._total_at <= self._first_at:
            self.phase = CallPhase.TOTAL

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        return self

    async def __aexit__(self, *exception: Any) -> bool | None:
        return await self._timeout.__aexit__(*exception)

    @property
    def expired(self) -> bool:
        return self._timeout.expired()

    def allow(self, phase: CallPhase, seconds: float) -> None:
        self._since = self._loop.time()
        self._until(phase, self._since + seconds)

    def resume_first(self) -> None:
        self._since = self._began
        self._until(CallPhase.FIRST_BYTE, self._first_at)

    def pause(self) -> None:
        """Run only the total limit while the caller processes data."""
        self._until(CallPhase.TOTAL, math.inf)

    def waited(self) -> float:
        return self._loop.time() - (self._began if self.phase is CallPhase.TOTAL else self._since)

    def _until(self, phase: CallPhase, at: float) -> None:
        self.phase = phase if at < self._total_at else CallPhase.TOTAL
        at = min(at, self._total_at)
        if not self._timeout.expired():
            self._timeout.reschedule(None if at == math.inf else at)


def _is_framed(headers: Mapping[str, str]) -> bool:
    """Whether a body has a length or is chunked (RFC 9112, 6.3), and is not compressed."""
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        return False
    return "chunked" in headers.get("Transfer-Encoding", "").lower() or "Content-Length" in headers


def _session(trace: aiohttp.TraceConfig | None = None, **connector: Any) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS, ttl_dns_cache=DNS_CACHE_S, **connector),
        cookie_jar=aiohttp.DummyCookieJar(),
        # Compression would delay streamed tokens, and a small body could expand to a huge one.
        headers={"User-Agent": f"kairos/{__version__}", "Accept-Encoding": "identity"},
        trace_configs=[trace] if trace else None,
    )


async def _note_reuse(session: aiohttp.ClientSession, context: Any, params: object) -> None:
    context.trace_request_ctx.append(True)


async def _status_error(
    response: aiohttp.ClientResponse, answer: HttpResponse, address: str, token: str | None
) -> HttpStatus:
    """The error for a status that is not 2xx. For a redirect it contains the new address."""
    body = b""
    with suppress(HttpError):  # without a body, the status is reported alone
        while len(body) < ERROR_BODY_BYTES and (chunk := await answer.read()):
            body += chunk
    if location := response.headers.get("Location"):
        reason = f"it redirects to {plain_address(location)}, which is not followed"
    else:
        reason = _reason(body) if body.strip() else (response.reason or "no reason given")
    if token:
        reason = reason.replace(token, "***")
    return HttpStatus(
        address=address,
        http_status=response.status,
        reason=reason.rstrip("."),
        retry_after_s=retry_after(response.headers),
        body=body[:ERROR_BODY_BYTES],
    )


def _connection_error(error: Exception, url: str, limits: HttpLimits) -> HttpError:
    """The error for a request without a response."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return HttpTimeout(address=plain_address(url), phase=CallPhase.CONNECT, seconds=limits.connect_s)
    return HttpUnreachable(address=plain_address(url), reason=_error_text(error))


def _reason(body: bytes) -> str:
    try:
        return error_message(orjson.loads(body)) or excerpt(body)
    except orjson.JSONDecodeError:
        return excerpt(body)


def _error_text(error: BaseException) -> str:
    """An error as text. aiohttp's connector errors wrap the system's error."""
    if isinstance(error, aiohttp.InvalidURL):  # its message is the whole address
        return "it is not a valid HTTP address"
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return f"the proxy {error.host}:{error.port} cannot be reached ({_error_text(error.os_error)})"
    if isinstance(error, aiohttp.ClientHttpProxyError):  # its message contains the headers
        return f"its proxy refused the connection with {error.status} {error.message}"
    if isinstance(error, aiohttp.ClientPayloadError):  # its message is the parser's
        return "the connection closed before the end"
    inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({inner.verify_message})"
    if isinstance(inner, ssl.SSLError):  # its number is none of the system's
        return f"TLS failed ({(inner.reason or 'unknown').replace('_', ' ').lower()})"
    number = getattr(inner, "errno", None) or 0
    text = os.strerror(number) if number > 0 else getattr(inner, "strerror", None) or str(inner)
    return (text or type(inner).__name__).rstrip(".")
