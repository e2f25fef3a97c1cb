"""The public addresses of Kairos: in links, in Host headers, and as the origin of the dashboard.

Another site can point a host name of its own at Kairos (DNS rebinding); the browser then treats Kairos as that site. So
only requests for known host names are served. Literal IP addresses cannot be rebound.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import urlsplit

from fastapi import Request
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from kairos.api.components import component_of
from kairos.api.problems import problem_of
from kairos.config import Settings
from kairos.config_server import ServerSettings, is_address, origin
from kairos.errors import KairosError

ANY_HOST = frozenset({"/api/health/live", "/api/health/ready"})
"""Health checks may use any host name; the responses contain nothing private."""
HOST_HEADER = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(:[0-9]{1,5})?")


EVERY_INTERFACE = frozenset({"", "0.0.0.0", "::"})
NAMED_LOCALHOST = EVERY_INTERFACE | {"127.0.0.1", "::1"}
"""Bound addresses that are reachable as localhost."""


class ForeignHost(KairosError):
    """Kairos is not served under the host name {host!r}. Use its own address, or set `server.public_url` or
    `server.allowed_hosts`."""

    status, code, exit_code = 421, "foreign_host", 6


def link_base(settings: Settings, bound_port: int = 0) -> str:
    """The origin of links: `server.public_url`, or the bound address, with localhost for 127.0.0.1, ::1 and wildcards.

    Other loopback addresses are kept, because localhost does not lead to them. The Host header is never used: the
    client chooses it. `bound_port` is used if the system chooses the port (`server.port` is 0).
    """
    if settings.server.public_url:
        return settings.server.public_url
    host = settings.server.host.strip("[]").lower()
    if _canonical(host) in NAMED_LOCALHOST:
        host = "localhost"
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.server.port or bound_port}"


def link_base_for(request: Request) -> str:
    """The `link_base` of the daemon that handles this request."""
    bound = request.scope.get("server")
    return link_base(component_of(request, Settings), (bound[1] or 0) if bound else 0)


def same_origin(connection: HTTPConnection) -> bool:
    """Whether the request comes from the dashboard: same scheme, host and port, or `server.public_url`.

    Behind a TLS proxy the scheme is taken from X-Forwarded-Proto of a trusted proxy, or from `public_url`.
    """
    settings = component_of(connection, Settings)
    scheme = {"ws": "http", "wss": "https"}.get(connection.url.scheme, connection.url.scheme)
    try:
        page = origin(connection.headers.get("origin", ""))
        return page in (settings.server.public_url, origin(f"{scheme}://{connection.headers.get('host', '')}"))
    except ValueError:
        return False


class Hosts:
    """The host names under which a daemon is served, with any port: a proxy or a forwarding may use another one.

    If the daemon listens on all interfaces, every IP address and the machine's host name are accepted.
    """

    def __init__(self, server: ServerSettings) -> None:
        bound = server.host.strip("[]").lower()
        self._every_address = bound in EVERY_INTERFACE
        names = {"localhost", *server.allowed_hosts}
        names.add(socket.gethostname().lower() if self._every_address else bound)
        if server.public_url:
            names.add(urlsplit(server.public_url).hostname or "")
        self._names = {_canonical(name) for name in names}

    def serves(self, header: str) -> bool:
        """Whether this value of a Host header is accepted."""
        match = HOST_HEADER.fullmatch(header.strip().lower())
        if match is None:
            return False
        host = _canonical(match[1].strip("[]"))
        return host in self._names or self._is_ours(host)

    def _is_ours(self, host: str) -> bool:
        return _is_loopback(host) or (self._every_address and is_address(host))


def _is_loopback(host: str) -> bool:
    return is_address(host) and ipaddress.ip_address(host).is_loopback


def _canonical(host: str) -> str:
    """The canonical form of a name or an address."""
    host = host.rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    mapped = address.ipv4_mapped if address.version == 6 else None
    return str(mapped or address)


class HostCheck:
    """Middleware that responds with 421 if the Host header is missing, duplicated, or not accepted."""

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in ANY_HOST:
            return await self._app(scope, receive, send)
        given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(given) == 1 and self._hosts.serves(given[0]):
            return await self._app(scope, receive, send)
        error = ForeignHost(host=", ".join(given)[:253])
        return await problem_of(error, scope["path"])(scope, receive, send)
