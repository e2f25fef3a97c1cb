"""Envelope encryption: what is sealed is read back, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.encryption.envelope import KEY_BYTES, Keyring, MasterKey, SealedSecret, SecretUnreadable

SECRETS, CONTEXTS = st.binary(max_size=2000), st.text(max_size=80)
RING = Keyring([MasterKey.new()])


@given(SECRETS, CONTEXTS)
def test_sealed_secret_is_opened_and_not_contained(secret: bytes, context: str):
    sealed = RING.seal(secret, context)
    assert RING.open(sealed, context) == secret
    if len(secret) >= 8:
        assert secret not in sealed.data
    assert sealed.data not in repr(sealed).encode("unicode_escape")


@given(SECRETS, CONTEXTS, CONTEXTS)
def test_secret_of_another_row_is_refused(secret: bytes, context: str, other: str):
    if context == other:
        return
    with pytest.raises(SecretUnreadable, match="belongs to another row"):
        RING.open(RING.seal(secret, context), other)
    with pytest.raises(SecretUnreadable, match="belongs to another row"):
        RING.rewrapped(RING.seal(secret, context), other)


@given(SECRETS, st.data())
def test_changed_ciphertext_is_refused(secret: bytes, data: st.DataObject):
    """Wherever a bit was flipped, and however the end was cut."""
    sealed = RING.seal(secret, "row")
    at = data.draw(st.integers(0, len(sealed.data) - 1))
    flipped = bytearray(sealed.data)
    flipped[at] ^= 1 << data.draw(st.integers(0, 7))
    for changed in (bytes(flipped), sealed.data[:at], b""):
        with pytest.raises(SecretUnreadable):
            RING.open(SealedSecret(changed, sealed.master_key), "row")


@given(SECRETS, CONTEXTS)
def test_rotation_keeps_the_secret_and_old_rings_the_old_ciphertext(secret: bytes, context: str):
    """A daemon that reads during a rotation reads either form."""
    old = MasterKey.new()
    before, after = Keyring([old]), Keyring([MasterKey.new(), old])
    sealed = before.seal(secret, context)
    rewrapped = after.rewrapped(sealed, context)
    assert after.open(sealed, context) == after.open(rewrapped, context) == secret
    assert before.open(sealed, context) == secret
    assert rewrapped.master_key == after.newest.id != sealed.master_key
    with pytest.raises(SecretUnreadable, match="does not have the master key"):
        before.open(rewrapped, context)


def test_parts_of_two_secrets_cannot_be_combined():
    """A data key of one row does not open the content of another, even under one context."""
    one, two = RING.seal(b"one", "row"), RING.seal(b"two", "row")
    middle = len(one.data) // 2
    with pytest.raises(SecretUnreadable):
        RING.open(SealedSecret(one.data[:middle] + two.data[middle:], one.master_key), "row")


def test_equal_secrets_have_different_ciphertexts():
    assert RING.seal(b"same", "row").data != RING.seal(b"same", "row").data


def test_lost_master_key_is_named():
    sealed = Keyring([MasterKey.new()]).seal(b"x", "row")
    with pytest.raises(SecretUnreadable, match=sealed.master_key):
        RING.open(sealed, "row")


def test_master_keys_are_not_shown():
    key = MasterKey(b"k" * KEY_BYTES)
    assert "kkkk" not in repr(key)
    assert len(key.id) == 16
    with pytest.raises(ValueError, match="32 bytes"):
        MasterKey(b"short")
