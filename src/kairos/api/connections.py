"""Limits on connections: how many there are, and how long each may take for headers, body, answer and idling.

uvicorn limits none of these but the idling between requests. A connection is watched from its protocol's own state,
once in `LOOK_S`; where there are too many, the one that has made its server wait longest gives way to the new one, so
that half-sent requests cannot keep others out.
"""

from __future__ import annotations

import asyncio
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

LOOK_S = 0.5
LOG_EVERY_S = 10.0
HEADER_BYTES = 65_536
CLOSE_REPLY_S = 3.0
"""How long a WebSocket's client may take to answer that it was closed."""
RESERVED_FILES = 256
"""For engines, models, log and whatever else a daemon opens."""
MOST_FILES = 65_536


class Phase(StrEnum):
    """What a connection does, and so which limit holds for it."""

    HEADERS = "headers"
    IDLE = "idle"
    BODY = "body"
    WRITING = "writing"
    """The client does not take what is sent."""
    CLOSING = "closing"
    LEAVING = "leaving"
    """A WebSocket that was closed, and whose client does not take the rest."""
    BUSY = "busy"
    """The server works, or a WebSocket is open: no limit."""


GIVES_WAY = (Phase.LEAVING, Phase.CLOSING, Phase.HEADERS, Phase.IDLE, Phase.BODY, Phase.WRITING)
"""Which connections are closed for a new one, those of the first phase first."""


@dataclass(eq=False, slots=True)
class Connection:
    """One that is open."""

    protocol: GuardedHttp | GuardedWebSocket
    address: str
    since: float
    phase: Phase = Phase.HEADERS
    request: int = 0
    """Number of the request that the phase belongs to."""


@dataclass
class Connections:
    """All connections of a server."""

    settings: ServerSettings
    open: dict[asyncio.Transport, Connection] = field(default_factory=dict)
    per_address: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._proxies = [ipaddress.ip_network(network) for network in self.settings.trusted_proxies]
        self._reports = Reports()
        self._looking: asyncio.TimerHandle | None = None
        self.most = min(self.settings.max_connections, max(8, raised_file_limit() - RESERVED_FILES))
        self._limits = {
            Phase.HEADERS: (self.settings.header_timeout_s, "the headers of a request were not complete in time"),
            Phase.BODY: (self.settings.body_timeout_s, "the body of a request was not complete in time"),
            Phase.WRITING: (self.settings.write_timeout_s, "a client did not take its answer"),
            Phase.LEAVING: (2 * LOOK_S, ""),
            Phase.IDLE: (self.settings.idle_timeout_s, ""),  # nothing to report: every client does that
            Phase.CLOSING: (self.settings.write_timeout_s, "a client did not take the end of its answer"),
        }

    def opened(self, protocol: GuardedHttp) -> bool:
        """Count a new connection. False where there is no room for it: it is being closed."""
        address = protocol.client[0] if protocol.client else ""
        if self._too_many_of(address) and not self._make_room(address):
            return self._refuse(protocol, "too many connections of one address (server.max_connections_per_address)")
        if len(self.open) >= self.most and not self._make_room(None):
            return self._refuse(protocol, "too many connections (server.max_connections)")
        now = asyncio.get_running_loop().time()
        self.open[protocol.transport] = Connection(protocol, address, now)
        self.per_address[address] += 1
        self._look_later()
        return True

    def upgraded(self, transport: asyncio.Transport, protocol: GuardedWebSocket) -> None:
        """The connection is a WebSocket from now on."""
        if transport in self.open:
            self.open[transport].protocol = protocol

    def closed(self, transport: asyncio.Transport) -> None:
        if connection := self.open.pop(transport, None):
            self.per_address[connection.address] -= 1
            if not self.per_address[connection.address]:
                del self.per_address[connection.address]

    def look(self) -> None:
        """End what has taken too long."""
        now = asyncio.get_running_loop().time()
        for connection in list(self.open.values()):
            self._update(connection, now)
            limit_s, why = self._limits.get(connection.phase, (float("inf"), ""))
            if now - connection.since >= limit_s:
                self._end(connection, why)

    def _look_later(self) -> None:
        if self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(LOOK_S, self._look_again)

    def _look_again(self) -> None:
        self._looking = None
        self.look()
        self._reports.flush()
        if self.open or self._reports.waiting:
            self._look_later()

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
        """Close the connection (of the address) that has kept its server waiting longest."""
        now = asyncio.get_running_loop().time()
        candidates = [c for c in self.open.values() if address is None or c.address == address]
        for connection in candidates:
            self._update(connection, now)
        waiting = [c for c in candidates if c.phase in GIVES_WAY]
        if not waiting:
            return False
        oldest = min(waiting, key=lambda c: (GIVES_WAY.index(c.phase), c.since))
        self._end(oldest, "too many connections: one that made the server wait gave way to a new one")
        return True

    def _end(self, connection: Connection, why: str) -> None:
        transport = connection.protocol.transport
        if why:
            self._reports.add(why, connection.address)
        if connection.phase in (Phase.WRITING, Phase.CLOSING, Phase.LEAVING):
            transport.abort()  # who does not read would never let it close
            return
        if connection.phase in (Phase.HEADERS, Phase.BODY) and connection.protocol.unanswered:
            _answer(transport, b"408 Request Timeout")
        transport.close()

    def _refuse(self, protocol: GuardedHttp, why: str) -> bool:
        self._reports.add(why, protocol.client[0] if protocol.client else "")
        _answer(protocol.transport, b"503 Service Unavailable")
        protocol.transport.close()
        return False

    def too_large(self, protocol: GuardedHttp) -> None:
        """The headers of a request are."""
        connection = self.open.get(protocol.transport)
        self._reports.add("the headers of a request were too large", connection.address if connection else "")
        _answer(protocol.transport, b"431 Request Header Fields Too Large")
        protocol.transport.close()


def _answer(transport: asyncio.Transport, status: bytes) -> None:
    headers = b"content-length: 0\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close"
    transport.write(b"HTTP/1.1 " + status + b"\r\n" + headers + b"\r\n\r\n")


class Reports:
    """Log lines about connections that were ended, one for each reason in `LOG_EVERY_S`."""

    def __init__(self) -> None:
        self.waiting: dict[str, tuple[int, str]] = {}
        self._logged: dict[str, float] = {}

    def add(self, why: str, address: str) -> None:
        """Logged at once, or with others of its kind a little later."""
        count, _ = self.waiting.get(why, (0, ""))
        self.waiting[why] = (count + 1, address)
        self.flush()

    def flush(self) -> None:
        now = asyncio.get_running_loop().time()
        for why, (count, address) in list(self.waiting.items()):
            if now - self._logged.get(why, float("-inf")) >= LOG_EVERY_S:
                self._logged[why] = now
                del self.waiting[why]
                log.warning("%s: %d ended, the last one of %s", why, count, address or "unknown")


class GuardedHttp(HttpToolsProtocol):
    """uvicorn's protocol, watched."""

    def __init__(self, guard: Connections, **options: Any) -> None:
        super().__init__(**options)
        self._guard = guard
        self.requests = 0
        """Whose headers were complete."""
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
        """Nothing was sent for the request under way."""
        return self.cycle is None or self.cycle.response_complete or not self.cycle.response_started

    def phase(self) -> Phase:
        """What the connection does now."""
        if self.transport.is_closing():
            return Phase.CLOSING
        if self.flow.write_paused:
            return Phase.WRITING
        if self.cycle is None or self.cycle.response_complete:
            return Phase.IDLE if self.requests and not self._in_headers else Phase.HEADERS
        # Where reading is paused, the server itself is slow.
        return Phase.BODY if self.cycle.more_body and not self.flow.read_paused else Phase.BUSY


class GuardedWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's protocol, watched. Its pings end connections that nobody answers any more."""

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
        """End it with the server. uvicorn raises for one that is being closed already, and then ends no other."""
        if self.transport.is_closing():
            self.stop_keepalive()
        else:
            super().shutdown()

    def phase(self) -> Phase:
        """What the connection does now."""
        if self.transport.is_closing():
            return Phase.LEAVING
        return Phase.BUSY if self.writable.is_set() else Phase.WRITING


def raised_file_limit() -> int:
    """Raise the number of files that this process may open as far as it may itself; that number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):
            return soft
        return wanted
    return MOST_FILES if soft == resource.RLIM_INFINITY else soft
