"""Hashes the passwords of tests with cheap Argon2 parameters. The full cost is 64 MB and up to 0.2 s of CPU per hash.

A pytest plugin. It does not affect daemons in other processes.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from kairos.api.access import passwords
from kairos.api.access.passwords import HashCost

FULL = passwords.COST
CHEAP = HashCost(passes=1, memory_kib=8, lanes=1)
"""The least memory and time that Argon2 allows."""


def cheap() -> PasswordHash:
    """Return a hasher of the same algorithm and library with the least cost."""
    return PasswordHash((Argon2Hasher(CHEAP.passes, CHEAP.memory_kib, CHEAP.lanes),))


@pytest.fixture(scope="session", autouse=True)
def cheap_hashing() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "COST", CHEAP)
        yield


@pytest.fixture
def full_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the cost of the product for hashes made after this fixture."""
    monkeypatch.setattr(passwords, "COST", FULL)
