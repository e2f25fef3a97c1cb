"""Passwords: hashed, compared and judged in a small pool of threads of their own.

Argon2 takes tens of milliseconds of CPU and 64 MB a call, so what requests ask of it is bounded: never more than
`THREADS` at once, and at most `WAITING` in line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

from pwdlib import PasswordHash
from zxcvbn_rs_py import zxcvbn

from kairos.api.access.tokens import new_secret
from kairos.errors import InvalidInput, KairosError

T = TypeVar("T")

THREADS = 2
WAITING = 32
SHORTEST_PASSWORD = 10
LEAST_SCORE = 2
"""Of zxcvbn's 0 to 4: 1 is guessed in fewer than a million tries."""
JUDGED = 48
"""Characters that are judged: the estimate of a longer text can take seconds."""
COMMON = ("kairos", "sifre", "şifre", "parola", "galatasaray", "fenerbahce", "fenerbahçe", "besiktas", "beşiktaş")
COMMON += ("trabzonspor", "istanbul", "ankara", "izmir", "turkiye", "türkiye", "ataturk", "atatürk", "merhaba")
"""What zxcvbn's lists lack: the product, and words that Turkish passwords often begin with."""


class HashingBusy(KairosError):
    """Too many passwords are being checked at this moment. Try again in {seconds} s."""

    status, code, exit_code = 503, "hashing_busy", 7


class WeakPassword(InvalidInput):
    """{where}: {problem}. {remedy}"""

    code = "weak_password"


class Passwords:
    """The pool."""

    def __init__(self, threads: int = THREADS, waiting: int = WAITING) -> None:
        self._hasher = hasher()
        self._pool = ThreadPoolExecutor(threads, "passwords")
        self._most = threads + waiting
        self._under_way = 0
        self.evaluated = 0
        """Passwords compared or hashed so far, so that a test can see that limits hold before the work is done."""

    async def matches(self, password: str, stored: str | None) -> tuple[bool, str | None]:
        """Whether the password is the stored one, and its hash with newer parameters where those have changed.

        Without a stored hash it takes as long and does not match. Raises `HashingBusy`.
        """
        self._room()
        self.evaluated += 1
        good, better = await self._run(self._hasher.verify_and_update, password, stored or nobodys_hash())
        return good and stored is not None, better

    async def hashed(self, password: str, *about: str) -> str:
        """Argon2id of a new password. Raises `WeakPassword`, `HashingBusy`. `about` is what others know of its
        owner."""
        require_length(password)
        self.evaluated += 1
        if await self._run(score, password, about) < LEAST_SCORE:
            raise WeakPassword(
                where="password", problem="too easy to guess", remedy="Take several words that nobody expects together"
            )
        return await self._run(self._hasher.hash, password)

    async def aclose(self) -> None:
        """Wait for what runs; what waits is dropped."""
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)

    def _room(self) -> None:
        if self._under_way >= self._most:
            raise HashingBusy(seconds=2)

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        self._room()
        self._under_way += 1
        future = self._pool.submit(work, *arguments)
        loop = asyncio.get_running_loop()
        # Counted until the thread is done, also where nobody waits for it any more.
        future.add_done_callback(lambda _: loop.is_closed() or loop.call_soon_threadsafe(self._done))
        return await asyncio.wrap_future(future)

    def _done(self) -> None:
        self._under_way -= 1


def require_length(password: str) -> None:
    """Raises `WeakPassword` where it is too short, which needs no work to see."""
    if len(password) < SHORTEST_PASSWORD:
        problem = f"shorter than {SHORTEST_PASSWORD} characters"
        raise WeakPassword(where="password", problem=problem, remedy="Take a longer one")


def score(password: str, about: tuple[str, ...]) -> int:
    """How hard a password is to guess, 0 to 4, by whoever knows these texts about its owner."""
    words = {part for text in about for part in (text, *text.replace("@", " ").replace(".", " ").split())}
    return int(zxcvbn(password[:JUDGED], [*COMMON, *sorted(word.lower()[:JUDGED] for word in words)]).score)


@cache
def nobodys_hash() -> str:
    """A wrong user takes as long as a wrong password: there is always a hash to compare with.

    Made once a process, at the first start and not at the first sign-in, which would take twice as long and so tell.
    """
    return hasher().hash(new_secret())


def hasher() -> PasswordHash:
    """Argon2id with the parameters that pwdlib recommends."""
    return PasswordHash.recommended()
