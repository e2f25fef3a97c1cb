"""Addresses of model servers and the names and values of their keys, as people paste them."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit, urlunsplit

QUOTES = "\"'`“”‘’"
ENDPOINTS = ("/chat/completions", "/completions", "/models")


class Unusable(ValueError):
    """Says what is wrong with an address or a key, without repeating it."""


def model_address(text: str) -> str:
    """The address as it is used: no white space, quotes, closing slashes or endpoint; a query stays.

    Raises `Unusable`. What is wrong is said without the address: it may hold a credential.
    """
    text = unquoted(text)
    if re.search(r"\s", text) or not text.isprintable():
        raise Unusable("it holds white space or control characters")
    if "://" not in text:
        raise Unusable("it has no scheme; begin it with http:// or https://")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise Unusable("host or port cannot be read; write IPv6 in brackets: http://[::1]:8000/v1") from None
    if parts.scheme.lower() not in ("http", "https"):
        raise Unusable("its scheme is neither http nor https")
    _check(parts, host)
    path = parts.path.rstrip("/")
    for endpoint in ENDPOINTS:
        path = path.removesuffix(endpoint).rstrip("/")
    return urlunsplit((parts.scheme.lower(), parts.netloc, path, parts.query, ""))


def _check(parts: SplitResult, host: str | None) -> None:
    if not host:
        raise Unusable("it names no host")
    if "@" in parts.netloc:
        raise Unusable("it holds a user name or password; keep a key in the variable that `api_key_env` names")
    if parts.fragment:
        raise Unusable("it has a fragment (#…), which no server gets; take that out")


def key_variable(text: str) -> str:
    """The name of an environment variable. Raises `Unusable`: a key in its place must not be repeated in a message."""
    name = unquoted(text)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", name):
        raise Unusable("it is no name of an environment variable; put a key into a variable, and name that here")
    return name


def clean_key(value: str) -> str:
    """A key without the white space and quotes that come along when one is pasted.

    Raises `Unusable` where it cannot be sent in a header.
    """
    key = unquoted(value)
    if not key:
        raise Unusable("it is empty")
    for at, character in enumerate(key, 1):
        if ord(character) < 33 or ord(character) == 127:
            raise Unusable(f"character {at} is white space or a control character (U+{ord(character):04X})")
        if ord(character) > 126:
            raise Unusable(f"character {at} is not ASCII (U+{ord(character):04X})")
    return key


def unquoted(text: str) -> str:
    """Without surrounding white space, invisible marks and quotes."""
    before = None
    while before != text:
        before = text
        text = text.strip().strip("\ufeff\u200b\u200e\u200f\u00a0").strip(QUOTES)
    return text
