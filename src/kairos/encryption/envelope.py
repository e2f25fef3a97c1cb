"""Envelope encryption: each secret has a random data key, and a master key encrypts the data key.

A rotation of the master key re-encrypts 32 bytes per secret, and the secrets themselves stay as they are. AES-256-GCM
(NIST SP 800-38D) with random 96-bit nonces; a data key encrypts one secret, so its nonce never repeats. Both layers
authenticate a context, which names the row of the secret: a ciphertext that was copied to another row is refused.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kairos.errors import KairosError

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
FORM = b"\x01"
"""First byte of a sealed secret: the version of its layout."""
WRAPPED_BYTES = NONCE_BYTES + KEY_BYTES + TAG_BYTES
SHORTEST = len(FORM) + WRAPPED_BYTES + NONCE_BYTES + TAG_BYTES


class SecretUnreadable(KairosError):
    """The stored secret cannot be decrypted: {reason}. {remedy}"""

    status, code, exit_code = 409, "secret_unreadable", 5


@dataclass(frozen=True, slots=True)
class MasterKey:
    """A master key. Its id is derived from the key, so that the same key has the same id on every daemon."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise ValueError(f"a master key has {KEY_BYTES} bytes, not {len(self.secret)}")

    @classmethod
    def new(cls) -> MasterKey:
        return cls(os.urandom(KEY_BYTES))

    @property
    def id(self) -> str:
        """16 hexadecimal digits of a hash; they reveal nothing of a random key."""
        return hashlib.sha256(b"kairos master key\0" + self.secret).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class SealedSecret:
    """An encrypted secret, as stored."""

    data: bytes = field(repr=False)
    master_key: str
    """Id of the master key that encrypts its data key."""


class Keyring:
    """Master keys, newest first: the first one encrypts, all of them decrypt. Immutable."""

    def __init__(self, keys: Iterable[MasterKey]) -> None:
        self._keys = {key.id: key for key in keys}
        if not self._keys:
            raise ValueError("there is no master key")

    def __contains__(self, key_id: object) -> bool:
        return key_id in self._keys

    def __iter__(self) -> Iterator[MasterKey]:
        return iter(self._keys.values())

    @property
    def newest(self) -> MasterKey:
        return next(iter(self._keys.values()))

    def seal(self, secret: bytes, context: str) -> SealedSecret:
        """Encrypt a secret for the row that `context` names."""
        data_key, nonce = os.urandom(KEY_BYTES), os.urandom(NONCE_BYTES)
        content = AESGCM(data_key).encrypt(nonce, secret, _bound("secret", context))
        master = self.newest
        return SealedSecret(FORM + _wrap(master, data_key, context) + nonce + content, master.id)

    def open(self, sealed: SealedSecret, context: str) -> bytes:
        """Decrypt a secret. Raises `SecretUnreadable`."""
        _, data_key, content = self._parts(sealed, context)
        return _decrypt(data_key, content, _bound("secret", context))

    def rewrapped(self, sealed: SealedSecret, context: str) -> SealedSecret:
        """Encrypt the data key with the newest master key. Raises `SecretUnreadable`."""
        _, data_key, content = self._parts(sealed, context)
        master = self.newest
        return SealedSecret(FORM + _wrap(master, data_key, context) + content, master.id)

    def _parts(self, sealed: SealedSecret, context: str) -> tuple[MasterKey, bytes, bytes]:
        """The master key, the data key, and the encrypted content."""
        master = self._keys.get(sealed.master_key)
        if master is None:
            raise SecretUnreadable(
                reason=f"this daemon does not have the master key {sealed.master_key[:16]} that encrypted it",
                remedy="Restore that master key on this daemon, or enter the secret again",
            )
        if len(sealed.data) < SHORTEST or not sealed.data.startswith(FORM):
            raise _changed()
        wrapped, content = sealed.data[1 : 1 + WRAPPED_BYTES], sealed.data[1 + WRAPPED_BYTES :]
        return master, _decrypt(master.secret, wrapped, _bound("key", context)), content


def _wrap(master: MasterKey, data_key: bytes, context: str) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(master.secret).encrypt(nonce, data_key, _bound("key", context))


def _decrypt(key: bytes, data: bytes, bound: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], bound)
    except InvalidTag:
        raise _changed() from None


def _changed() -> SecretUnreadable:
    return SecretUnreadable(
        reason="its ciphertext was changed, or belongs to another row", remedy="Enter the secret again"
    )


def _bound(layer: str, context: str) -> bytes:
    """The associated data of a layer: the two layers differ, so that one cannot stand for the other."""
    return f"kairos {layer}\0{context}".encode()
