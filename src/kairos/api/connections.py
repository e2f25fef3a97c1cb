"""Limit the number of connections, and the time of each for headers, body, response and idling.

uvicorn limits only the idle time between requests. The state of every connection is checked each `CHECK_S`. If there
are too many connections, the one that has made the server wait longest is closed in favour of the new one, so that
half-sent requests cannot block other clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import resource
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from kairos.config_server import ServerSettings

log = logging.getLogger(__name__)

CHECK_S = 0.5
LOG_EVERY_S = 10.0
HEADER_BYTES = 65_536
CLOSE_REPLY_S = 3.0
"""Longest wait for the close reply of a WebSocket client."""
RESERVED_FILES = 256
"""File descriptors for engines, models, logs and other files of the daemon."""
MOST_FILES = 65_536
MACOS_FILES = 10_240
"""OPEN_MAX of macOS, which may refuse more although its hard limit is unlimited (setrlimit(2))."""


class ConnectionPhase(StrEnum):
    """The state of a connection, which determines its time limit."""

    HEADERS = "headers"
    IDLE = "idle"
    BODY = "body"
    WRITING = "writing"
    """The client does not read the response."""
    CLOSING = "closing"
    LEAVING = "leaving"
    """A closed WebSocket whose client does not read the rest."""
    BUSY = "busy"
    """The server is processing a request, or a WebSocket is open: no limit."""


CLOSING_ORDER = (
    ConnectionPhase.LEAVING,
    ConnectionPhase.CLOSING,
    ConnectionPhase.HEADERS,
    ConnectionPhase.IDLE,
    ConnectionPhase.BODY,
    ConnectionPhase.WRITING,
)
"""Phases in which a connection may be closed in favour of a new one, in this order."""


@dataclass(eq=False, slots=True)
class Connection:
    """An open connection."""

    protocol: GuardedHttp | GuardedWebSocket
    address: str
    since: float
    phase: ConnectionPhase = ConnectionPhase.HEADERS
    request: int = 0
    """Number of the request to which the phase belongs."""


@dataclass
class Connections:
    """The open connections of a server."""

    settings: ServerSettings
    open: dict[asyncio.Transport, Connection] = field(default_factory=dict)
    per_address: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._proxies = [ipaddress.ip_network(network) for network in self.settings.trusted_proxies]
        self._reports = ConnectionLog()
        self._timer: asyncio.TimerHandle | None = None
        self.most = min(self.settings.max_connections, max(8, raise_file_limit() - RESERVED_FILES))
        self._limits = {
            ConnectionPhase.HEADERS: (
                self.settings.header_timeout_s,
                "the headers of a request were not complete in time",
            ),
            ConnectionPhase.BODY: (self.settings.body_timeout_s, "the body of a request was not complete in time"),
            ConnectionPhase.WRITING: (self.settings.write_timeout_s, "a client did not read its response"),
            ConnectionPhase.LEAVING: (2 * CHECK_S, ""),
            ConnectionPhase.IDLE: (self.settings.idle_timeout_s, ""),  # not logged: normal for every client
            ConnectionPhase.CLOSING: (self.settings.write_timeout_s, "a client did not read the end of its response"),
        }

    def opened(self, protocol: GuardedHttp) -> bool:
        """Register a new connection; False if there are too many and it is being closed."""
        address = protocol.client[0] if protocol.client else ""
        if self._too_many_of(address) and not self._make_room(address):
            return self._refuse(protocol, "too many connections from one address (server.max_connections_per_address)")
        if len(self.open) >= self.most and not self._make_room(None):
            return self._refuse(protocol, "too many connections (server.max_connections)")
        now = asyncio.get_running_loop().time()
        self.open[protocol.transport] = Connection(protocol, address, now)
        self.per_address[address] += 1
        self._schedule_check()
        return True

    def upgraded(self, transport: asyncio.Transport, protocol: GuardedWebSocket) -> None:
        """Register that the connection has become a WebSocket."""
        if transport in self.open:
            self.open[transport].protocol = protocol

    def closed(self, transport: asyncio.Transport) -> None:
        if connection := self.open.pop(transport, None):
            self.per_address[connection.address] -= 1
            if not self.per_address[connection.address]:
                del self.per_address[connection.address]

    def check(self) -> None:
        """Close connections that have exceeded their time limit."""
        now = asyncio.get_running_loop().time()
        for connection in list(self.open.values()):
            self._update(connection, now)
            limit_s, why = self._limits.get(connection.phase, (float("inf"), ""))
            if now - connection.since >= limit_s:
                self._end(connection, why)

    def _schedule_check(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CHECK_S, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.check()
        self._reports.flush()
        if self.open or self._reports.waiting:
            self._schedule_check()

    def _update(self, connection: Connection, now: float) -> None:
        phase, request = connection.protocol.phase(), connection.protocol.requests
        if (phase, request) != (connection.phase, connection.request):
            connection.phase, connection.request, connection.since = phase, request, now

    def _too_many_of(self, address: str) -> bool:
        most = self.settings.max_connections_per_address
        return self.per_address[address] >= most and not self._is_proxy(address)

    def _is_proxy(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._proxies)

    def _make_room(self, address: str | None) -> bool:
        """Close the connection (of the address, if given) that has made the server wait longest."""
        now = asyncio.get_running_loop().time()
        candidates = [c for c in self.open.values() if address is None or c.address == address]
        for connection in candidates:
            self._update(connection, now)
        waiting = [c for c in candidates if c.phase in CLOSING_ORDER]
        if not waiting:
            return False
        oldest = min(waiting, key=lambda c: (CLOSING_ORDER.index(c.phase), c.since))
        self._end(oldest, "too many connections: a waiting one was closed in favour of a new one")
        return True

    def _end(self, connection: Connection, why: str) -> None:
        transport = connection.protocol.transport
        if why:
            self._reports.add(why, connection.address)
        if connection.phase in (ConnectionPhase.WRITING, ConnectionPhase.CLOSING, ConnectionPhase.LEAVING):
            transport.abort()  # a normal close would wait for the client to read
            return
        if connection.phase in (ConnectionPhase.HEADERS, ConnectionPhase.BODY) and connection.protocol.unanswered:
            _answer(transport, b"408 Request Timeout")
        transport.close()

    def _refuse(self, protocol: GuardedHttp, why: str) -> bool:
        self._reports.add(why, protocol.client[0] if protocol.client else "")
        _answer(protocol.transport, b"503 Service Unavailable")
        protocol.transport.close()
        return False

    def too_large(self, protocol: GuardedHttp) -> None:
        """Refuse a request with too large headers."""
        connection = self.open.get(protocol.transport)
        self._reports.add("the headers of a request were too large", connection.address if connection else "")
        _answer(protocol.transport, b"431 Request Header Fields Too Large")
        protocol.transport.close()


def _answer(transport: asyncio.Transport, status: bytes) -> None:
    headers = b"content-length: 0\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close"
    transport.write(b"HTTP/1.1 " + status + b"\r\n" + headers + b"\r\n\r\n")


class ConnectionLog:
    """Logs closed connections, at most once per reason in `LOG_EVERY_S`."""

    def __init__(self) -> None:
        self.waiting: dict[str, tuple[int, str]] = {}
        self._logged: dict[str, float] = {}

    def add(self, why: str, address: str) -> None:
        """Log a closed connection now, or later together with others of the same reason."""
        count, _ = self.waiting.get(why, (0, ""))
        self.waiting[why] = (count + 1, address)
        self.flush()

    def flush(self) -> None:
        now = asyncio.get_running_loop().time()
        for why, (count, address) in list(self.waiting.items()):
            if now - self._logged.get(why, float("-inf")) >= LOG_EVERY_S:
                self._logged[why] = now
                del self.waiting[why]
                log.warning("%s: closed %d, the last one from %s", why, count, address or "unknown")


class GuardedHttp(HttpToolsProtocol):
    """uvicorn's HTTP protocol with connection limits."""

    def __init__(self, guard: Connections, **options: Any) -> None:
        super().__init__(**options)
        self._guard = guard
        self.requests = 0
        """Number of requests with complete headers."""
        self._head_bytes = 0
        self._in_headers = False
        self._admitted = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._admitted = self._guard.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._guard.closed(self.transport)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._admitted or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        super().data_received(data)
        if not self._in_headers:
            self._head_bytes = 0
        elif self._head_bytes > HEADER_BYTES:
            self._guard.too_large(self)

    def on_message_begin(self) -> None:
        self._in_headers = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self.requests += 1
        super().on_headers_complete()

    def handle_websocket_upgrade(self) -> None:
        super().handle_websocket_upgrade()
        protocol = self.transport.get_protocol()
        if isinstance(protocol, GuardedWebSocket):
            self._guard.upgraded(self.transport, protocol)

    def send_400_response(self, msg: str) -> None:
        if self.transport.is_closing():
            return
        _answer(self.transport, b"400 Bad Request")
        self.transport.close()

    @property
    def unanswered(self) -> bool:
        """Whether nothing has been sent for the current request."""
        return self.cycle is None or self.cycle.response_complete or not self.cycle.response_started

    def phase(self) -> ConnectionPhase:
        """What the connection does now."""
        if self.transport.is_closing():
            return ConnectionPhase.CLOSING
        if self.flow.write_paused:
            return ConnectionPhase.WRITING
        if self.cycle is None or self.cycle.response_complete:
            return ConnectionPhase.IDLE if self.requests and not self._in_headers else ConnectionPhase.HEADERS
        # If reading is paused, the server is the slow side.
        return ConnectionPhase.BODY if self.cycle.more_body and not self.flow.read_paused else ConnectionPhase.BUSY


class GuardedWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol with connection limits. Its pings close dead connections."""

    requests = 0
    unanswered = False

    def __init__(self, guard: Connections, **options: Any) -> None:
        super().__init__(**options)
        self._guard = guard
        self.close_timeout = CLOSE_REPLY_S

    def connection_lost(self, exc: Exception | None) -> None:
        self._guard.closed(self.transport)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Close the connection when the server stops. uvicorn raises for one that is already closing, and then closes
        no other."""
        if self.transport.is_closing():
            self.stop_keepalive()
        else:
            super().shutdown()

    def phase(self) -> ConnectionPhase:
        """What the connection does now."""
        if self.transport.is_closing():
            return ConnectionPhase.LEAVING
        return ConnectionPhase.BUSY if self.writable.is_set() else ConnectionPhase.WRITING


def raise_file_limit() -> int:
    """Raise the soft limit of open files as far as allowed, at most to `MOST_FILES`; return the new limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft == resource.RLIM_INFINITY:
        return MOST_FILES
    for limit in (wanted, min(wanted, MACOS_FILES)):
        with contextlib.suppress(ValueError, OSError):
            if soft < limit:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
                return limit
    return soft
