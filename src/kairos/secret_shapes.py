"""Detect secrets in text: known token formats, names of secrets, and values that are not placeholders.

The guardian applies it to an answer's syntax tree, the dataset to every line of a row. See
`docs/decisions/0011-dataset.md`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

SECRET_NAMES = frozenset({"password", "passwd", "pwd", "passphrase", "secret", "token", "apikey", "credential"})
SECRET_ENDS = ("api_key", "secret_key", "access_key", "private_key", "auth_key", "encryption_key", "signing_key")
HARMLESS_ENDS = (
    *("_url", "_name", "_field", "_path", "_file", "_header", "_env", "_var", "_type", "_label", "_regex", "_pattern"),
    *("_prompt", "_id", "_endpoint", "_hint", "_message", "_error", "_chars", "_format"),
)
PLACEHOLDERS = frozenset(
    {
        *("changeme", "change_me", "change-me", "example", "dummy", "test", "testing", "placeholder", "none", "null"),
        *("secret", "password", "passwd", "token", "default", "string", "text", "bearer", "basic", "todo", "fixme"),
        *("redacted", "hidden", "sample", "username", "access", "refresh", "api_key", "apikey", "access_token"),
        *("refresh_token", "id_token", "csrf_token"),
    }
)
PLACEHOLDER_PARTS = ("your", "example", "placeholder", "changeme", "replace", "insert", "dummy", "xxxx", "****", "...")
LEAST_LENGTH = 6
LEAST_BITS = 12.0
"""Entropy of the whole value in bits (length times Shannon entropy per character): `aaaaaaaa` has 0, `hunter2!` 24."""

SHAPES: dict[str, re.Pattern[str]] = {
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "an API key (sk-…)": re.compile(r"\bsk-[A-Za-z0-9_-]{20,200}"),
    "a GitHub token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})"),
    "a GitLab token": re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}"),
    "a Slack token": re.compile(r"\bxox[abposr]-[A-Za-z0-9-]{10,}"),
    "a Google API key": re.compile(r"\bAIza[A-Za-z0-9_-]{35}"),
    "a Stripe key": re.compile(r"\b[sr]k_live_[A-Za-z0-9]{16,}"),
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{30,}"),
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]{2,10} ){0,2}PRIVATE KEY-----"),
    "a signed token (JWT)": re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{16,}"),
    "a credential in a header": re.compile(r"\b(?:Bearer|Basic) (?P<secret>[A-Za-z0-9+/=._~-]{16,})"),
    "a password in an address": re.compile(r"\b[a-z][a-z0-9+.-]{1,15}://[^\s:/@{}<>$%]{1,64}:(?P<secret>[^\s:/@{}<>$%]{6,64})@"),
}  # fmt: skip
"""None has nested repetition, so that searching a long string is fast."""


def is_plausible(name: str, text: str) -> bool:
    """Whether a secret is plausible. A `token` of letters only is more often a parser's (`NUMBER`, `left_paren`)."""
    parts = set(snake_case(name).split("_"))
    if "token" not in parts or parts & (SECRET_NAMES - {"token"} | {"auth", "api", "access", "bearer", "session"}):
        return True
    return len(text) >= 24 or any(character.isdigit() for character in text)


def is_secret_name(name: str) -> bool:
    """Whether a value of this name is secret: `db_password`, `apiKey`, `X-Auth-Token`; not `token_url`."""
    if len(name) > 80:
        return False
    snake = snake_case(name)
    if snake.endswith(HARMLESS_ENDS):
        return False
    return snake.endswith(SECRET_ENDS) or not SECRET_NAMES.isdisjoint(snake.split("_"))


def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().replace("-", "_").replace(" ", "_")


def looks_secret(text: str) -> bool:
    """Whether a value assigned to such a name looks real: not a placeholder, not prose, and with enough entropy."""
    lowered = text.strip().lower()
    if len(lowered) < LEAST_LENGTH or lowered in PLACEHOLDERS or any(part in lowered for part in PLACEHOLDER_PARTS):
        return False
    if lowered[0] in "<{[$%" or any(character.isspace() for character in lowered):
        return False
    return _bits(text) >= LEAST_BITS


def _bits(text: str) -> float:
    total = len(text)
    return -sum(count * math.log2(count / total) for count in Counter(text).values())


def shapes_in(text: str) -> Iterator[tuple[str, int]]:
    """Yield each secret format found in the text, with its position."""
    for shape, pattern in SHAPES.items():
        yield from ((shape, match.start()) for match in pattern.finditer(text) if not _is_sample(match))


def _is_sample(match: re.Match[str]) -> bool:
    """Whether a match is a sample from documentation (`AKIAIOSFODNN7EXAMPLE`, `sk-xxxx…`) or a placeholder."""
    found = match.groupdict().get("secret")
    if found is not None:
        return not looks_secret(found)
    text = match[0].lower()
    return any(part in text for part in PLACEHOLDER_PARTS) or (len(set(text)) < 8 and not text.startswith("-"))
