"""Restrict calls to addresses on the public internet."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network
from typing import Any, Protocol

from kairos.host_literals import literal

CARRYING_IPV4 = tuple(
    map(
        IPv6Network,
        ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16"),
    )
)
"""IPv6 ranges with embedded IPv4: compatible, mapped, translated (RFC 2765), NAT64 (RFC 6052, 8215), Teredo, 6to4."""


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether the address is a global unicast address without an embedded IPv4 address."""
    if isinstance(address, IPv6Address) and (
        address.is_site_local or any(address in network for network in CARRYING_IPV4)
    ):
        return False
    return address.is_global and not (
        address.is_multicast or address.is_unspecified or address.is_reserved or address.is_loopback
    )


def is_listed(host: str, address: IPv4Address | IPv6Address | None, allowed: Iterable[str]) -> bool:
    """Whether the operator's list contains the host by name, by address, or within a network (`10.0.0.0/8`)."""
    for entry in allowed:
        if entry.lower().rstrip(".") == host.lower().rstrip("."):
            return True
        try:
            network = ip_network(entry, strict=False)
        except ValueError:
            continue
        if address is not None and address in network:
            return True
    return False


class Resolver(Protocol):
    """The resolver interface of aiohttp."""

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[Any]: ...

    async def close(self) -> None: ...


class NotPublic(OSError):
    """The address is not on the public internet."""


class PublicResolver:
    """Resolves names to public addresses only. The connection uses the checked address, against DNS rebinding."""

    def __init__(self, inner: Resolver, allowed: Callable[[], Sequence[str]]) -> None:
        self._inner = inner
        self._allowed = allowed

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[Any]:
        """The addresses of a name. Raises `NotPublic` if any of them is not public."""
        found = await self._inner.resolve(host, port, family)
        for result in found:
            must_be_public(host, literal(result["host"]), self._allowed())
        return found

    async def close(self) -> None:
        await self._inner.close()


def must_be_public(host: str, address: IPv4Address | IPv6Address | None, allowed: Sequence[str]) -> None:
    """Raise `NotPublic` unless the address is public or on the operator's list."""
    if (address is None or not is_public(address)) and not is_listed(host, address, allowed):
        raise NotPublic("it is not on the public internet")


def not_public(error: BaseException) -> NotPublic | None:
    """The `NotPublic` error in the chain of causes of an aiohttp error, or None."""
    seen = error
    for _ in range(5):
        if isinstance(seen, NotPublic):
            return seen
        following = getattr(seen, "os_error", None) or seen.__cause__ or seen.__context__
        if following is None:
            return None
        seen = following
    return None
