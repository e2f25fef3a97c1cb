"""Recognise hosts written as IP addresses, in every notation that the system resolves, and loopback hosts."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address


def literal(host: str) -> IPv4Address | IPv6Address | None:
    """The IP address of a host written as one, also as `2130706433`, `0x7f.1` or `0177.0.0.1`; None for a name."""
    host = host.strip("[]").partition("%")[0].rstrip(".")
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:  # getaddrinfo accepts these notations
        return IPv4Address(socket.inet_aton(host)) if host and host[0].isdigit() and " " not in host else None
    except (OSError, ValueError):  # ValueError: NUL or half of a surrogate pair
        return None


def unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address in an IPv4-mapped IPv6 address, else the address itself."""
    return (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address


def is_loopback(host: str) -> bool:
    """Whether the host is this machine: a loopback address, `localhost` or a name below it (RFC 6761)."""
    address = literal(host)
    if address is None:
        return f".{host.lower().rstrip('.')}".endswith(".localhost")
    return unmapped(address).is_loopback
