"""A cheap Argon2 for passwords that tests set. The full cost is 64 MB and up to 0.2 s of CPU for each hash.

A pytest plugin. What daemons in processes of their own hash has the full cost.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from kairos.api.access import passwords

FULL = passwords.hasher


def cheap() -> PasswordHash:
    """The same algorithm and library at the least memory and time that Argon2 allows."""
    return PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))


@pytest.fixture(scope="session", autouse=True)
def cheap_hashing() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "hasher", cheap)
        yield


@pytest.fixture
def full_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The product's own cost, for what is made after this fixture."""
    monkeypatch.setattr(passwords, "hasher", FULL)
