"""The section `[server]`: listening address, accepted hosts, and limits of connections."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from kairos.config_section import ApplyMode, Seconds, Section

DEFAULT_PORTS = {"http": 80, "https": 443}
HOST = re.compile(r"[a-z0-9._:-]{1,253}")


def origin(value: str) -> str:
    """An http or https origin in the form that browsers send: lower case, no default port, no path.

    Raises `ValueError`.
    """
    try:
        parts = urlsplit(value.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    rest = parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None
    if parts.scheme not in DEFAULT_PORTS or not host or rest or not HOST.fullmatch(host):
        raise ValueError("give an address like https://kairos.example.org: scheme, host and port, without a path")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + ("" if port in (None, DEFAULT_PORTS[parts.scheme]) else f":{port}")


def _host(value: str) -> str:
    """A name or an address as in a Host header, without the port."""
    host = value.strip().lower().strip("[]").rstrip(".")
    if not HOST.fullmatch(host) or (":" in host and not is_address(host)):
        raise ValueError("give a name or an address without scheme, port and path, like kairos.internal")
    return host


def is_address(text: str) -> bool:
    """Whether the text is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value.strip(), strict=False))
    except ValueError:
        raise ValueError("give an address or a network, like 10.0.0.0/8") from None


# An empty string means none: compose files pass unset variables as empty strings.
PublicUrl = Annotated[str | None, AfterValidator(lambda value: origin(value) if value else None)]
HostName = Annotated[str, AfterValidator(_host)]
Network = Annotated[str, AfterValidator(_network)]


class ServerSettings(Section):
    """The address and the limits of the HTTP server."""

    reach: ClassVar[ApplyMode] = ApplyMode.FILE
    host: str = Field(default="127.0.0.1", description="Address the API listens on.")
    port: int = Field(default=8484, ge=0, le=65535, description="Port the API listens on; 0 chooses a free one.")
    public_url: PublicUrl = Field(
        default=None, description="Public address, like https://kairos.example.org; links begin with it."
    )
    allowed_hosts: list[HostName] = Field(
        default=[], description="Additional host names that requests may use, like the name of a compose service."
    )
    trusted_proxies: list[Network] = Field(
        default=["127.0.0.1/32", "::1/128"],
        description="Addresses of reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted.",
    )
    body_limit_bytes: int = Field(default=2 * 1024 * 1024, ge=1024, le=2**32, description="Largest request body.")
    header_timeout_s: Seconds = Field(default=10, description="Longest time until a request's headers are complete.")
    body_timeout_s: Seconds = Field(default=60, description="Longest time until a request's body is complete.")
    write_timeout_s: Seconds = Field(
        default=30, description="Longest time that a client may not read any of a response."
    )
    idle_timeout_s: Seconds = Field(default=30, description="How long a connection without a request is kept.")
    max_connections: int = Field(
        default=4096, ge=8, le=1_000_000, description="Concurrent connections; the limit of open files applies as well."
    )
    max_connections_per_address: int = Field(
        default=512, ge=1, le=1_000_000, description="Concurrent connections of one address, trusted proxies excepted."
    )
