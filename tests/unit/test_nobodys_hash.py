"""The hash that a password is compared with where nobody has that e-mail: it costs as much as anybody's."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from pwdlib import PasswordHash

from kairos.api.passwords import nobodys_hash


def test_it_has_the_parameters_of_a_password_s_hash():
    real, nobodys = (
        encoded.split("$") for encoded in (PasswordHash.recommended().hash("correct horse"), nobodys_hash())
    )
    assert nobodys[:4] == real[:4], "variant, version and costs"
    assert [len(part) for part in nobodys] == [len(part) for part in real], "salt and digest"


def test_it_is_compared_and_not_refused_unread():
    """One that Argon2 could not read would be refused at once, and so tell who has an account."""
    with pytest.raises(VerifyMismatchError):
        PasswordHasher().verify(nobodys_hash(), "correct horse")
