"""The hosts on which an operator's own model servers may listen: this machine, and the host of Kairos' container."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path

THIS_MACHINE = "127.0.0.1"
CONTAINER_HOST = "host.docker.internal"
"""The container's host: Docker Desktop and Podman define it; elsewhere `--add-host` does."""
MARKERS = (".dockerenv", "run/.containerenv")
"""Files that Docker and Podman create in every container."""
VARIABLES = ("KUBERNETES_SERVICE_HOST", "container")
"""Variables that Kubernetes, Podman and systemd-nspawn set."""
GATEWAY_FLAG = 0x2
"""RTF_GATEWAY of linux/route.h."""


def in_container(environ: Mapping[str, str], root: Path = Path("/")) -> bool:
    """Whether this process probably runs in a container."""
    return any((root / marker).exists() for marker in MARKERS) or any(environ.get(name) for name in VARIABLES)


def default_gateway(root: Path = Path("/")) -> str | None:
    """The IPv4 address of the default gateway, which is the host in a container of Docker's bridge network."""
    with suppress(OSError):
        return gateway_of((root / "proc/net/route").read_text("ascii", errors="replace"))
    return None


def gateway_of(table: str) -> str | None:
    """The gateway of the default route with the lowest metric in a table in the format of `/proc/net/route`."""
    routes = [route for line in table.splitlines()[1:] if (route := _default_route(line.split())) is not None]
    return str(min(routes)[1]) if routes else None


def candidates(environ: Mapping[str, str], root: Path = Path("/")) -> tuple[str, ...]:
    """The hosts to try, in the order in which a person would name them."""
    gateway = default_gateway(root) if in_container(environ, root) else None
    return (THIS_MACHINE, CONTAINER_HOST, *((gateway,) if gateway else ()))


async def resolved(host: str, timeout_s: float) -> str | None:
    """An IP address of a host, if possible an IPv4 address; None if its name is unknown or not resolved in time."""
    with suppress(OSError, UnicodeError):  # TimeoutError is an OSError
        async with asyncio.timeout(timeout_s):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return str(min(found, key=lambda one: one[0] is not socket.AF_INET)[4][0]) if found else None
    return None


def _default_route(fields: list[str]) -> tuple[int, IPv4Address] | None:
    """Metric and gateway of a default route. Fields: Iface Destination Gateway Flags RefCnt Use Metric Mask …"""
    with suppress(ValueError, IndexError):
        destination, gateway, flags, metric, mask = (
            int(fields[1], 16),
            bytes.fromhex(fields[2]),
            int(fields[3], 16),
            int(fields[6]),
            int(fields[7], 16),
        )
        if destination == 0 and mask == 0 and flags & GATEWAY_FLAG and len(gateway) == 4 and any(gateway):
            return metric, IPv4Address(gateway[::-1])  # in the byte order of the machine
    return None
