"""The encrypted part of a stored provider: its key and its headers, which may contain credentials too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from uuid import UUID

import orjson

from kairos.encryption.envelope import Keyring, SealedSecret, SecretUnreadable


@dataclass(frozen=True, slots=True)
class ProviderSecret:
    """What a provider's requests carry."""

    key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __bool__(self) -> bool:
        return self.key is not None or bool(self.headers)


NO_SECRET = ProviderSecret()


@dataclass(frozen=True, slots=True)
class SecretPlace:
    """What a secret is bound to: its ciphertext is refused for another provider, project or server.

    With the server in it, someone who can only write to the database cannot send the key to a server of their own.
    """

    provider_id: UUID
    project_id: UUID | None
    address: str

    def __str__(self) -> str:
        return f"provider {self.provider_id} of {self.project_id or 'all projects'} at {origin(self.address)}"


def seal(ring: Keyring, secret: ProviderSecret, place: SecretPlace) -> SealedSecret | None:
    """Encrypt a secret for its provider's row; None if there is nothing to encrypt."""
    if not secret:
        return None
    content = orjson.dumps({"key": secret.key, "headers": dict(secret.headers)})
    return ring.seal(content, str(place))


def unseal(ring: Keyring, sealed: bytes | None, master_key: str | None, place: SecretPlace) -> ProviderSecret:
    """Decrypt the secret of a provider's row. Raises `SecretUnreadable`."""
    if sealed is None:
        return NO_SECRET
    content = ring.open(SealedSecret(sealed, master_key or ""), str(place))
    try:
        value = orjson.loads(content)
        return ProviderSecret(value["key"], value["headers"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise SecretUnreadable(
            reason="another version of Kairos wrote it", remedy="Start that version, or enter the secret again"
        ) from None


def origin(address: str) -> str:
    """The server of an address: scheme, host and port."""
    parts = urlsplit(address)
    return f"{parts.scheme.lower()}://{parts.netloc.lower()}"
