"""Normalise addresses of Kairos servers, so that each credential belongs to exactly one server."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from kairos import host_literals
from kairos.errors import InvalidInput

PORTS = {"http": 80, "https": 443}
UNSPECIFIED = {"0.0.0.0": "127.0.0.1", "::": "::1"}
HOST = re.compile(r"[A-Za-z0-9._:%-]+")


def server_address(text: str, where: str = "--url or KAIROS_URL") -> str:
    """The canonical address: lower case, without default port, user, query and trailing slash. Raises `InvalidInput`.

    A wildcard address (0.0.0.0) becomes the loopback address.
    """
    try:
        parts = urlsplit(text.strip())
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError as error:
        raise _refused(where, text, str(error)) from None
    if problem := _problem(parts, host):
        raise _refused(where, text, problem)
    host = UNSPECIFIED.get(host, host)
    shown = f"[{host}]" if ":" in host else host
    number = "" if port in (None, PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{shown}{number}{parts.path.rstrip('/')}"


def is_loopback(address: str) -> bool:
    """Whether the address is a loopback address."""
    return host_literals.is_loopback(urlsplit(address).hostname or "")


def at_daemon(address: str, daemon: str) -> str:
    """The daemon's own address if `localhost` means the same loopback port, otherwise the address itself.

    Requests then go to the address that the daemon has bound, never to another program on `::1` with that port.
    """
    wanted, bound = urlsplit(address), urlsplit(daemon)
    same = (wanted.scheme, wanted.port, wanted.path) == (bound.scheme, bound.port, bound.path)
    return daemon if wanted.hostname == "localhost" and same and is_loopback(daemon) else address


def _problem(parts: SplitResult, host: str) -> str | None:
    if parts.scheme not in PORTS:
        return "it must begin with http:// or https://"
    if not HOST.fullmatch(host):
        return "it has no host" if not host else "its host contains invalid characters"
    if parts.username is not None or parts.password is not None:
        return "it must not contain a user or password"
    if parts.query or parts.fragment:
        return "it must end with its path, without ? and #"
    if not re.fullmatch(r"[!-~]*", parts.path):
        return "its path contains characters that must be %-encoded"
    return None


def _refused(where: str, text: str, problem: str) -> InvalidInput:
    remedy = "Use the form http://127.0.0.1:8484 or https://kairos.example.org"
    return InvalidInput(where=where, problem=f"{text!r} is not an address: {problem}", remedy=remedy)
