"""Runs a program and all its descendants under strace, and returns the addresses that they connected or sent to.

strace (Debian: `apt-get install strace`) needs no privilege, works in a container with Docker's default profile, and
sees every process and every library, including C code. Loopback addresses of a network namespace of its own, as in the
sandbox of supplied tests, lead nowhere and are refused by the kernel; they count as reached only if the call succeeds.
"""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

CALLS = "connect,sendto,sendmsg,sendmmsg,bind,getsockname"
CALL = re.compile(r"\b(connect|sendto|sendmsg|sendmmsg|bind|getsockname)\(")
PORT = r"sin6?_port=htons\((\d+)\)"
ADDRESS = re.compile(rf"{PORT}, (?:sin6_flowinfo=[^,]*, )?(?:sin_addr=inet_addr\(|inet_pton\(AF_INET6, )\"([^\"]+)\"")
RESULT = re.compile(r"\) += (-?\d+)(?: (E[A-Z]+))?[^=]*$")
UNDER_WAY = "EINPROGRESS"
OWN = frozenset({"bind", "getsockname"})
"""Calls that name an address of this machine's program, not of its peer."""
TELEMETRY = re.compile(r"TELEMETRY|DO_NOT_TRACK|OFFLINE|SDK_DISABLED|UPDATE_CHECK|VERSION_CHECK|NO_ANALYTICS", re.I)
"""Variables by which users switch off telemetry and update checks of libraries."""


def why_not() -> str:
    """Why programs cannot be traced here; empty if they can."""
    if sys.platform != "linux":
        return f"strace needs Linux, and this system is {sys.platform}"
    return "" if shutil.which("strace") else "strace is not installed (Debian: apt-get install strace)"


def traced(log: Path, *program: str) -> tuple[str, ...]:
    """The command that runs the program under strace, as the direct child of the caller (-D)."""
    return ("strace", "-D", "-f", "-qq", "--seccomp-bpf", "-s", "0", "-e", f"trace={CALLS}", "-o", str(log), *program)


@dataclass(frozen=True, slots=True)
class Peer:
    """An address that a program tried to reach."""

    host: str
    port: int
    reached: bool

    @property
    def local(self) -> bool:
        address = ip_address(self.host)
        return (getattr(address, "ipv4_mapped", None) or address).is_loopback


@dataclass(frozen=True, slots=True)
class Connections:
    """The addresses in the log of strace."""

    peers: frozenset[Peer]
    own_ports: frozenset[int]
    """Ports that the traced programs themselves bound."""

    def outside(self, *ports: int) -> set[str]:
        """Return the peers that are neither a server of the traced programs nor a local one at these ports."""
        inside = self.own_ports | set(ports)
        return {
            f"{peer.host}:{peer.port}"
            for peer in self.peers
            if not peer.local or (peer.reached and peer.port not in inside)
        }


def connections(log: Path) -> Connections:
    """Read the log. An interrupted call, whose result is in a later line, counts as reached."""
    peers, own = set(), set()
    for line in log.read_text(errors="replace").splitlines():
        call = CALL.search(line)
        for port, host in ADDRESS.findall(line) if call else ():
            if call and call[1] in OWN:
                own.add(int(port))
            elif int(port):  # port 0: the C library asks the kernel for a route and sends nothing
                peers.add(Peer(host, int(port), _reached(line)))
    return Connections(frozenset(peers), frozenset(own))


def _reached(line: str) -> bool:
    result = RESULT.search(line)
    return result is None or int(result[1]) >= 0 or result[2] == UNDER_WAY
