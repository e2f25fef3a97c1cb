"""Hash, verify and score passwords in a small thread pool.

Argon2 takes tens of milliseconds of CPU and 64 MB per call, so its use is bounded: at most `THREADS` calls run, and at
most `WAITING` wait.
"""

from __future__ import annotations

import asyncio
import secrets
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from zxcvbn_rs_py import zxcvbn

from kairos.errors import InvalidInput, KairosError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HashCost:
    """Parameters of Argon2id: passes, memory in KiB, and lanes that are computed in parallel."""

    passes: int
    memory_kib: int
    lanes: int


COST = HashCost(passes=3, memory_kib=65_536, lanes=4)
"""The second recommended option of RFC 9106, for servers with little memory."""
SALT_BYTES = 16
DIGEST_BYTES = 32
ARGON2_VERSION = 19
THREADS = 2
WAITING = 32
SHORTEST_PASSWORD = 10
LEAST_SCORE = 2
"""On zxcvbn's scale of 0 to 4; 1 means fewer than a million guesses."""
SCORED_LENGTH = 48
"""Characters that are scored: the estimate for a longer text can take seconds."""
COMMON = ("kairos", "sifre", "şifre", "parola", "galatasaray", "fenerbahce", "fenerbahçe", "besiktas", "beşiktaş")
COMMON += ("trabzonspor", "istanbul", "ankara", "izmir", "turkiye", "türkiye", "ataturk", "atatürk", "merhaba")
"""Additions to zxcvbn's lists: the product name, and common parts of Turkish passwords."""


class HashingBusy(KairosError):
    """Too many passwords are being checked at the moment. Try again in {seconds} s."""

    status, code, exit_code = 503, "hashing_busy", 7


class WeakPassword(InvalidInput):
    """{where}: {problem}. {remedy}"""

    code = "weak_password"


class Passwords:
    """The thread pool for passwords."""

    def __init__(self, threads: int = THREADS, waiting: int = WAITING) -> None:
        self._hasher = hasher()
        self._pool = ThreadPoolExecutor(threads, "passwords")
        self._most = threads + waiting
        self._under_way = 0
        self.evaluated = 0
        """Number of passwords verified or hashed, with which tests check that limits apply before the work."""

    async def matches(self, password: str, stored: str | None) -> tuple[bool, str | None]:
        """Whether the password matches, and its hash with current parameters if those have changed.

        Without a stored hash it takes the same time and does not match. Raises `HashingBusy`.
        """
        self._room()
        self.evaluated += 1
        good, better = await self._run(self._hasher.verify_and_update, password, stored or dummy_hash())
        return good and stored is not None, better

    async def hashed(self, password: str, *about: str) -> str:
        """The Argon2id hash of a new password. Raises `WeakPassword`, `HashingBusy`.

        `about` contains texts that others know about its owner.
        """
        require_length(password)
        self.evaluated += 1
        if await self._run(score, password, about) < LEAST_SCORE:
            raise WeakPassword(where="password", problem="too easy to guess", remedy="Use several unrelated words")
        return await self._run(self._hasher.hash, password)

    async def aclose(self) -> None:
        """Wait for running calls and drop waiting ones."""
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)

    def _room(self) -> None:
        if self._under_way >= self._most:
            raise HashingBusy(seconds=2)

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        self._room()
        self._under_way += 1
        future = self._pool.submit(work, *arguments)
        loop = asyncio.get_running_loop()
        # Counted until the thread is done, even if the caller has been cancelled.
        future.add_done_callback(lambda _: loop.is_closed() or loop.call_soon_threadsafe(self._done))
        return await asyncio.wrap_future(future)

    def _done(self) -> None:
        self._under_way -= 1


def require_length(password: str) -> None:
    """Raise `WeakPassword` if the password is too short."""
    if len(password) < SHORTEST_PASSWORD:
        problem = f"shorter than {SHORTEST_PASSWORD} characters"
        raise WeakPassword(where="password", problem=problem, remedy="Use a longer one")


def score(password: str, about: tuple[str, ...]) -> int:
    """The zxcvbn score of a password, 0 to 4, for an attacker who knows these texts about its owner."""
    known = {part for text in about for part in (text, *text.replace("@", " ").replace(".", " ").split())}
    known_lower = sorted(part.lower()[:SCORED_LENGTH] for part in known)
    return int(zxcvbn(password[:SCORED_LENGTH], [*COMMON, *known_lower]).score)


def dummy_hash() -> str:
    """Return a hash that no password matches, to compare with for unknown users.

    The comparison takes as long as with a real hash. Salt and digest are random instead of computed: hashing a password
    would delay each start, or, at the first sign-in, reveal by the longer time that the user is unknown.
    """
    salt, digest = (_unpadded(secrets.token_bytes(size)) for size in (SALT_BYTES, DIGEST_BYTES))
    parameters = f"m={COST.memory_kib},t={COST.passes},p={COST.lanes}"
    return f"$argon2id$v={ARGON2_VERSION}${parameters}${salt}${digest}"


def hasher() -> PasswordHash:
    """Return a hasher with the parameters of `COST`."""
    argon2 = Argon2Hasher(COST.passes, COST.memory_kib, COST.lanes, hash_len=DIGEST_BYTES, salt_len=SALT_BYTES)
    return PasswordHash((argon2,))


def _unpadded(data: bytes) -> str:
    """Base64 without padding, as in the encoded form of Argon2."""
    return b64encode(data).decode().rstrip("=")
