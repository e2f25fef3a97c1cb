"""Clean and validate pasted addresses of model servers, and the names and values of their API keys."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit, urlunsplit

QUOTES = "\"'`“”‘’"
ENDPOINTS = ("/chat/completions", "/completions", "/models", "/messages", "/api/chat", "/api/tags")


class Unusable(ValueError):
    """An address or a key is not valid; the message gives the reason without repeating the value."""


def model_address(text: str) -> str:
    """The address without white space, quotes, trailing slashes and endpoint; a query is kept.

    Raises `Unusable`, whose message omits the address because it may contain a credential.
    """
    text = unquoted(text)
    if re.search(r"\s", text) or not text.isprintable():
        raise Unusable("it contains white space or control characters")
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
        raise Unusable("it has no host")
    if "@" in parts.netloc:
        raise Unusable("it contains a user name or password; put a key into the variable that `api_key_env` names")
    if parts.fragment:
        raise Unusable("it has a fragment (#…), which is never sent to a server; remove it")


def key_variable(text: str) -> str:
    """The name of an environment variable. Raises `Unusable`, whose message does not repeat a key given by mistake."""
    name = unquoted(text)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", name):
        raise Unusable("it is not the name of an environment variable; put the key into a variable and name it here")
    return name


def clean_key(value: str) -> str:
    """A key without surrounding white space and quotes, which pasting may add.

    Raises `Unusable` if it cannot be sent in a header.
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
    """The text without surrounding white space, invisible characters and quotes."""
    before = None
    while before != text:
        before = text
        text = text.strip().strip("\ufeff\u200b\u200e\u200f\u00a0").strip(QUOTES)
    return text
