"""Choose the proxy of a call from the environment variables that curl, Git and Docker use.

`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`; lower-case names take precedence. There is no standard; this
follows curl (https://curl.se/docs/manpage.html#--noproxy) and Go's `httpproxy` (CIDR blocks, ports).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Self
from urllib.parse import unquote, urlsplit

from kairos.host_literals import is_loopback, literal, unmapped

PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy server with its credentials."""

    url: str
    """Without credentials."""
    user: str | None = field(default=None, repr=False)
    password: str = field(default="", repr=False)

    @property
    def supported(self) -> bool:
        """Whether Kairos can use the proxy: HTTP proxies, not SOCKS."""
        return urlsplit(self.url).scheme in PORTS

    @classmethod
    def of(cls, value: str) -> Self:
        """Parse an address. Raises `ValueError` if it is not valid; the message contains no credential."""
        text = value.strip().strip("\"'")
        try:
            parts = urlsplit(text if "://" in text else f"http://{text}")
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port, parts = None, None, urlsplit("")
        if not host:
            raise ValueError("it is not an address such as http://proxy.example:3128")
        where = f"[{host}]" if ":" in host else host
        url = f"{parts.scheme.lower()}://{where}{f':{port}' if port else ''}"
        return cls(url, unquote(parts.username) if parts.username else None, unquote(parts.password or ""))


@dataclass(frozen=True, slots=True)
class _Bypass:
    """One entry of NO_PROXY."""

    network: IPv4Network | IPv6Network | None
    name: str
    port: int | None

    def matches(self, host: str, address: IPv4Address | IPv6Address | None, port: int) -> bool:
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return address is not None and address in self.network
        return host == self.name or host.endswith(f".{self.name}")


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxy settings of one environment."""

    http: Proxy | None = None
    https: Proxy | None = None
    bypass: tuple[_Bypass, ...] = ()
    bypass_all: bool = False
    faults: tuple[str, ...] = ()
    """Invalid variables with the reason; calls that would use them fail."""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        """Read the proxy settings from the environment."""
        faults: list[str] = []
        everything = _proxy(environ, "all_proxy", faults)
        entries = [entry for entry in _value(environ, "no_proxy").replace(",", " ").split() if entry.strip(".")]
        return cls(
            http=_proxy(environ, "http_proxy", faults) or everything,
            https=_proxy(environ, "https_proxy", faults) or everything,
            bypass=tuple(_entry(entry) for entry in entries if entry != "*"),
            bypass_all="*" in entries,
            faults=tuple(faults),
        )

    def for_url(self, url: str) -> Proxy | None:
        """The proxy for an address; None for a direct connection, which loopback addresses always use."""
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").rstrip(".").lower(), parts.port or PORTS.get(parts.scheme, 0)
        except ValueError:
            return None  # the call itself reports the invalid address
        proxy = {"http": self.http, "https": self.https}.get(parts.scheme)
        if proxy is None or self.bypass_all or not host:
            return None
        address = literal(host)
        if is_loopback(host) or (address and unmapped(address).is_unspecified):  # 0.0.0.0 reaches this machine as well
            return None
        return None if any(entry.matches(host, address, port) for entry in self.bypass) else proxy


DIRECT = Proxies()


def _value(environ: Mapping[str, str], name: str) -> str:
    return (environ.get(name) or environ.get(name.upper()) or "").strip()


def _proxy(environ: Mapping[str, str], name: str, faults: list[str]) -> Proxy | None:
    value = _value(environ, name)
    if not value:
        return None
    try:
        return Proxy.of(value)
    except ValueError as error:
        faults.append(f"{name.upper()}: {error}")
        return Proxy(f"invalid://{name}")


def _entry(text: str) -> _Bypass:
    """Parse an entry: `example.com`, `.example.com`, `*.example.com`, `host:8080`, `10.0.0.0/8`, `[::1]:80`."""
    text = text.lower()
    try:
        return _Bypass(ip_network(text.strip("[]"), strict=False), text, None)
    except ValueError:
        pass
    host, _, port = text.rpartition(":")
    if not (host and port.isdigit() and len(port) <= 5):
        host, port = text, ""
    number = int(port) if port else None
    address = literal(host)
    if address is not None:
        return _Bypass(ip_network(address), host, number)
    return _Bypass(None, host.removeprefix("*").strip("."), number)
