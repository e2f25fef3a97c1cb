"""TLS contexts that trust certificate authorities besides the system's."""

from __future__ import annotations

import re
import ssl
from functools import lru_cache

LONGEST_PEM = 64 * 1024
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")


@lru_cache(maxsize=64)
def trusting(pem: str) -> ssl.SSLContext:
    """A client context that trusts these certificates too. Raises `ValueError` if they cannot be read."""
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError) as error:
        raise ValueError("it contains no certificate in PEM") from error
    return context


def certificates(text: str) -> str:
    """The certificates of a pasted PEM text. Raises `ValueError` without repeating the text."""
    if PRIVATE_KEY.search(text):
        raise ValueError("it contains a private key; give the certificate alone")
    if len(text) > LONGEST_PEM:
        raise ValueError(f"it is longer than {LONGEST_PEM} characters")
    blocks = re.findall(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----", text)
    if not blocks:
        raise ValueError("it contains no certificate in PEM (-----BEGIN CERTIFICATE-----)")
    pem = "\n".join(block.strip() for block in blocks) + "\n"
    trusting(pem)
    return pem
