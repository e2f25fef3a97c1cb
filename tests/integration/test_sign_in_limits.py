"""Password attempts: looked up and counted before hashing, and limited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import argon2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pwdlib.hashers.argon2 import Argon2Hasher
from redis.asyncio import Redis

from kairos import redis_keys
from kairos.api.access import passwords, sign_in_limits
from kairos.api.access.passwords import HashingBusy, Passwords, WeakPassword, score
from kairos.api.access.sign_in_limits import (
    PER_ACCOUNT,
    PER_ADDRESS,
    LocalCounts,
    SignInLimits,
    by_session,
    by_stranger,
    net,
)
from kairos.api.access.tokens import digest, new_secret
from kairos.api.problems import RateLimited
from kairos.db.repositories.access import sessions
from kairos.redis_client import connect
from kairos.tenancy import Scope, UserId
from tests.kit.api import Caller, signed_in
from tests.kit.hashing import cheap
from tests.kit.kairos_app import KairosApp
from tests.kit.people import new_project_in

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
async def reset_counters(app: KairosApp) -> None:
    """Delete all counters, as other tests sign in from the same address."""
    redis = app.parts.api.accounts._limits._redis
    async for key in redis.scan_iter(match=redis_keys.sign_in_attempts("*", "*")):
        await redis.delete(key)


def evaluated(app: KairosApp) -> int:
    return app.parts.api.accounts.passwords.evaluated


async def link(app: KairosApp, user_id: UserId, life: timedelta = timedelta(hours=1)) -> str:
    token = new_secret()
    async with app.database.scope(Scope(user_id=user_id)) as session:
        await sessions.add_link(session, digest(token), user_id, "setup", life)
    return token


async def with_password(app: KairosApp) -> str:
    await app.parts.api.accounts.use_link(await link(app, app.user_id), PASSWORD, "test")
    return f"{app.user_id}@test"


async def try_often(anonymous: Caller, email: str, times: int, **more) -> list[int]:
    body = {"email": email, "password": "wrong", **more}
    replies = await asyncio.gather(*(anonymous.post("/api/auth/login", body) for _ in range(times)))
    return [reply.status for reply in replies]


class TestLogin:
    async def test_parallel_wrong_passwords_are_counted_before_they_are_evaluated(
        self, app: KairosApp, anonymous: Caller
    ):
        email = await with_password(app)
        before = evaluated(app)
        statuses = await try_often(anonymous, email, 80)
        assert statuses.count(401) == PER_ACCOUNT == evaluated(app) - before
        assert statuses.count(429) == 80 - PER_ACCOUNT

    async def test_parallel_guesses_at_many_accounts_are_limited_by_address(self, app: KairosApp, anonymous: Caller):
        before = evaluated(app)
        emails = [f"{uuid4()}@test" for _ in range(PER_ADDRESS + 20)]
        replies = [await try_often(anonymous, email, 1) for email in emails]
        assert evaluated(app) - before == PER_ADDRESS
        assert replies[-1] == [429]

    async def test_successful_sign_ins_do_not_count(self, app: KairosApp, anonymous: Caller):
        body = {"email": await with_password(app), "password": PASSWORD}
        for _ in range(PER_ACCOUNT + 2):
            assert (await anonymous.post("/api/auth/login", body)).status == 200

    async def test_unknown_devices_do_not_lock_out_a_known_one(self, app: KairosApp, anonymous: Caller):
        email = await with_password(app)
        good = {"email": email, "password": PASSWORD}
        async with anonymous._session.post("/api/auth/login", json={**good, "cookie": True}) as browser:
            cookie = browser.cookies["kairos_device"]
        assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "strict", "/api/auth")
        program = await anonymous.post("/api/auth/login", good)
        await try_often(anonymous, email, PER_ACCOUNT)
        assert (await anonymous.post("/api/auth/login", good)).status == 429, "the device is unknown"
        assert (
            await anonymous.post("/api/auth/login", {**good, "device_token": program["device_token"]})
        ).status == 200
        sent = {"Cookie": f"kairos_device={cookie.value}"}
        assert (await anonymous.post("/api/auth/login", good, headers=sent)).status == 200

    async def test_device_is_known_only_to_its_own_account(self, app: KairosApp, anonymous: Caller):
        email = await with_password(app)
        _, other_id = await new_project_in(app.database)
        await app.parts.api.accounts.use_link(await link(app, other_id), PASSWORD, "test")
        theirs = await anonymous.post("/api/auth/login", {"email": f"{other_id}@test", "password": PASSWORD})
        before = evaluated(app)
        statuses = await try_often(anonymous, email, PER_ACCOUNT + 5, device_token=theirs["device_token"])
        assert statuses.count(401) == PER_ACCOUNT == evaluated(app) - before

    async def test_guesses_from_a_known_device_are_limited(self, app: KairosApp, anonymous: Caller):
        email = await with_password(app)
        mine = await anonymous.post("/api/auth/login", {"email": email, "password": PASSWORD})
        statuses = await try_often(anonymous, email, PER_ACCOUNT + 5, device_token=mine["device_token"])
        assert statuses.count(401) == PER_ACCOUNT

    @pytest.mark.parametrize("device", ["", "x", "ü" * 50, "A" * 86])
    async def test_forged_device_counts_as_unknown(self, app: KairosApp, anonymous: Caller, device: str):
        statuses = await try_often(anonymous, f"{uuid4()}@test", PER_ACCOUNT + 1, device_token=device)
        assert statuses.count(429) == 1


class TestLinks:
    async def test_unknown_and_expired_links_are_not_hashed(self, app: KairosApp, anonymous: Caller, monkeypatch):
        def hashes(*_):
            raise AssertionError("hashed")

        expired = await link(app, app.user_id, timedelta(seconds=-1))
        monkeypatch.setattr(app.parts.api.accounts.passwords, "_run", hashes)
        for token in (expired, new_secret()):
            assert (await anonymous.post("/api/auth/setup", {"token": token, "password": PASSWORD})).status == 401
            body = {"token": token, "email": "a@test", "name": "A", "password": PASSWORD}
            assert (await anonymous.post("/api/auth/register", body)).status == 404

    async def test_taken_address_is_refused_without_hashing(
        self, app: KairosApp, anonymous: Caller, owner: Caller, monkeypatch
    ):
        token = (await owner.post("/api/invitations", {}))["link"].split("#")[1]
        monkeypatch.setattr(app.parts.api.accounts.passwords, "_run", None)
        body = {"token": token, "email": f"{app.user_id}@test", "name": "A", "password": PASSWORD}
        assert (await anonymous.post("/api/auth/register", body)).status == 409

    async def test_hashes_for_one_link_are_limited(self, app: KairosApp, anonymous: Caller):
        token, before = await link(app, app.user_id), evaluated(app)
        body = {"token": token, "password": PASSWORD}
        replies = await asyncio.gather(*(anonymous.post("/api/auth/setup", body) for _ in range(30)))
        statuses = [reply.status for reply in replies]
        assert statuses.count(200) == 1
        assert set(statuses) <= {200, 401, 429}
        assert 1 <= evaluated(app) - before <= sign_in_limits.PER_LINK

    async def test_used_link_ends_other_links_and_sessions(self, app: KairosApp, anonymous: Caller):
        first, second = await link(app, app.user_id), await link(app, app.user_id)
        before = await signed_in(app.parts, anonymous, app.user_id, app.project_id)
        assert (await anonymous.post("/api/auth/setup", {"token": first, "password": PASSWORD})).status == 200
        assert (await anonymous.post("/api/auth/setup", {"token": second, "password": PASSWORD})).status == 401
        assert (await before.get("/api/auth/me")).status == 401


class TestChange:
    async def test_guesses_with_a_session_are_limited(self, app: KairosApp, anonymous: Caller):
        await with_password(app)
        thief = await signed_in(app.parts, anonymous, app.user_id, app.project_id)
        before = evaluated(app)
        body = {"current": "guess", "new": "an other one than that"}
        replies = await asyncio.gather(*(thief.post("/api/auth/password", body) for _ in range(40)))
        assert [r.status for r in replies].count(422) == PER_ACCOUNT == evaluated(app) - before
        owner = await signed_in(app.parts, anonymous, app.user_id, app.project_id)
        assert (await owner.post("/api/auth/password", {**body, "current": PASSWORD})).status == 204

    async def test_password_change_ends_all_links(self, app: KairosApp, anonymous: Caller):
        await with_password(app)
        token = await link(app, app.user_id)
        mine = await signed_in(app.parts, anonymous, app.user_id, app.project_id)
        body = {"current": PASSWORD, "new": "an other one than that"}
        assert (await mine.post("/api/auth/password", body)).status == 204
        assert (await anonymous.post("/api/auth/setup", {"token": token, "password": PASSWORD})).status == 401


class TestDisabled:
    async def test_disabled_account_can_neither_use_links_nor_refresh_nor_sign_in(self, app, anonymous: Caller):
        email = await with_password(app)
        session = await app.parts.api.accounts.open_session(app.user_id, "t", app.project_id)
        token = await link(app, app.user_id)
        async with app.database.scope(Scope(operator=True)) as scope:
            await people_set_disabled(scope, app.user_id)
        before = evaluated(app)
        refresh = await anonymous.post("/api/auth/refresh", {"refresh_token": session.refresh_token})
        setup = await anonymous.post("/api/auth/setup", {"token": token, "password": "an other one than that"})
        assert evaluated(app) == before, "its link costs no hash"
        login = await anonymous.post("/api/auth/login", {"email": email, "password": PASSWORD})
        assert (refresh.status, setup.status, login.status) == (401, 401, 401)


async def people_set_disabled(session, user_id: UserId) -> None:
    """Disable only the account, without ending its sessions and links as `PATCH /api/users` does."""
    from kairos.db.repositories.access import people

    await people.set_account_flags(session, user_id, operator=False, disabled=True)


class TestStrength:
    @pytest.mark.parametrize(
        "trivial",
        ["aaaaaaaaaa", "1234567890", "qwertyuiop", "password123", "Galatasaray1905", "sifre12345", "a" * 1024],
    )
    async def test_trivial_passwords_are_refused(self, trivial: str):
        pool = Passwords()
        with pytest.raises(WeakPassword):
            await pool.hashed(trivial)
        await pool.aclose()

    async def test_own_name_is_refused_as_password(self, app: KairosApp, anonymous: Caller, owner: Caller):
        token = (await owner.post("/api/invitations", {}))["link"].split("#")[1]
        body = {"token": token, "email": "z@test", "name": "Zeynep Karakaya", "password": "zeynepkarakaya"}
        refused = await anonymous.post("/api/auth/register", body)
        assert (refused.status, refused["code"]) == (422, "weak_password")
        assert score("zeynepkarakaya", ()) >= passwords.LEAST_SCORE, "the password is strong enough for other names"

    @pytest.mark.parametrize("good", [PASSWORD, "long enough!", "üç yeşil kaplumbağa"])
    async def test_strong_passwords_are_accepted(self, good: str):
        assert score(good, ("ada@example.org",)) >= passwords.LEAST_SCORE

    def test_only_the_beginning_of_a_text_is_scored(self, monkeypatch: pytest.MonkeyPatch):
        seen: list[str] = []

        def recording(password: str, user_inputs: list[str]) -> Any:
            seen.extend((password, *user_inputs))
            return zxcvbn(password, user_inputs)

        zxcvbn = passwords.zxcvbn
        monkeypatch.setattr(passwords, "zxcvbn", recording)
        score("correct horse " * 70, ("y" * 320, "z" * 100))
        assert max(map(len, seen)) == passwords.SCORED_LENGTH

    @given(st.text(max_size=1024))
    def test_score_is_in_range_for_any_text(self, text: str):
        assert 0 <= score(text, (text[:100],)) <= 4


class TestPool:
    @pytest.mark.usefixtures("full_hashing")
    async def test_hash_uses_64_mib_and_three_passes(self):
        pool = Passwords()
        hashed = await pool.hashed(PASSWORD)
        for stored in (hashed, passwords.dummy_hash()):
            assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
            assert not Argon2Hasher().check_needs_rehash(stored), "the library's recommended parameters"
        assert await pool.matches(PASSWORD, hashed) == (True, None), "the hash is up to date"
        await pool.aclose()

    def test_dummy_hash_is_computed_with_and_matches_nothing(self):
        """Not an error, which would end the comparison at once and reveal that the user is unknown."""
        computing, dummy = argon2.PasswordHasher(), passwords.dummy_hash()
        for password in ("", PASSWORD):
            with pytest.raises(argon2.exceptions.VerifyMismatchError):
                computing.verify(dummy, password)
        assert passwords.dummy_hash() != dummy

    @pytest.mark.usefixtures("full_hashing")
    async def test_cheaper_hash_is_replaced_at_the_next_sign_in(self):
        pool = Passwords()
        good, better = await pool.matches(PASSWORD, cheap().hash(PASSWORD))
        assert good
        assert better is not None
        assert better.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
        await pool.aclose()

    async def test_attempts_beyond_the_queue_are_refused_at_once(self):
        pool = Passwords(threads=1, waiting=2)
        works = [asyncio.create_task(pool.matches("x", None)) for _ in range(8)]
        done = await asyncio.gather(*works, return_exceptions=True)
        assert sum(isinstance(result, HashingBusy) for result in done) == 5
        assert (await pool.matches("x", None))[0] is False, "the pool has room again"
        await pool.aclose()

    async def test_default_executor_of_the_event_loop_is_not_used(self, monkeypatch):
        def used(*_):
            raise AssertionError("the event loop's own threads")

        pool = Passwords()
        with monkeypatch.context() as patch:
            patch.setattr(asyncio.get_running_loop(), "run_in_executor", used)
            await pool.hashed(PASSWORD)
            await pool.matches("x", None)
        await pool.aclose()


@asynccontextmanager
async def away() -> AsyncIterator[Redis]:
    """A client of a Redis that is not running."""
    redis = connect("redis://127.0.0.1:1/0")
    yield redis
    await redis.aclose()


class TestWithoutRedis:
    async def test_each_replica_counts_for_itself(self):
        async with away() as redis:
            limits = SignInLimits(redis)
            counters = by_session(uuid4())
            refused = 0
            for _ in range(PER_ACCOUNT + 3):
                try:
                    async with limits.attempt(*counters):
                        pass
                except RateLimited:
                    refused += 1
            assert refused == 3

    def test_full_table_refuses_new_counters(self, monkeypatch):
        monkeypatch.setattr(sign_in_limits, "MOST_LOCAL", 2)
        counts = LocalCounts()
        assert [counts.acquire([name], [1]) == 0 for name in "abc"] == [True, True, False]
        assert counts.acquire(["a"], [1]) > 0, "existing counters are kept"

    def test_counter_ends_with_its_window(self, monkeypatch):
        counts, now = LocalCounts(), [0.0]
        monkeypatch.setattr(sign_in_limits.time, "monotonic", lambda: now[0])
        assert (counts.acquire(["a"], [1]), counts.acquire(["a"], [1])) == (0, sign_in_limits.WINDOW_S)
        now[0] = sign_in_limits.WINDOW_S
        assert counts.acquire(["a"], [1]) == 0

    @given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc")), max_size=60))
    def test_counter_never_exceeds_its_limit(self, steps: list[tuple[bool, str]]):
        counts, taken = LocalCounts(), dict.fromkeys("abc", 0)
        for give, name in steps:
            if give and taken[name]:
                counts.release([name])
                taken[name] -= 1
            elif not give and counts.acquire([name], [3]) == 0:
                taken[name] += 1
            assert max(taken.values()) <= 3


class TestNames:
    def test_case_and_spaces_do_not_make_another_account(self):
        assert by_stranger(" Ada@Example.org", "::1")[0] == by_stranger("ada@example.org ", "::1")[0]

    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
            ("10.0.0.1", "10.0.0.2", False),
            ("fe80::1%eth0", "fe80::2%eth1", True),
            ("not an address", "not an address", True),
        ],
    )
    def test_ipv6_addresses_of_one_subscriber_are_counted_together(self, one: str, other: str, same: bool):
        assert (net(one) == net(other)) is same
