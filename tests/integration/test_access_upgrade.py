"""An installation from before the column grants keeps its accounts, keys and sessions after an upgrade."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from alembic import command

from kairos.api.access.accounts import Accounts
from kairos.api.access.passwords import Passwords
from kairos.api.access.sign_in_limits import SignInLimits
from kairos.api.access.tokens import RefreshClaims, TokenKeys
from kairos.config import Settings
from kairos.db import schema
from kairos.db.addresses import DatabaseAddresses
from kairos.db.engine import Database
from kairos.redis_client import connect
from kairos.tenancy import new_id
from tests.kit.engines import engines_for_tests

PASSWORD = "correct horse battery"
BEFORE = "0006"


def migrate_to(revision: str, at: DatabaseAddresses, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade = command.upgrade
    with monkeypatch.context() as patch:
        patch.setattr(command, "upgrade", lambda config, _: upgrade(config, revision))
        schema.migrate(at)


async def test_older_installation_is_upgraded(tmp_path_factory: pytest.TempPathFactory, monkeypatch):
    folder: Path = tmp_path_factory.mktemp("older")
    async with engines_for_tests(folder) as found:
        at = DatabaseAddresses(found.database_url, found.migration_url, found.system_url)
        migrate_to(BEFORE, at, monkeypatch)
        user_id, session_id = new_id(), new_id()
        pool = Passwords()
        stored = await pool.hashed(PASSWORD)
        with psycopg.connect(found.database_url.replace("+psycopg", "")) as app:
            app.execute("select set_config('kairos.operator', 'on', true)")
            app.execute(
                "insert into users (id, email, name, password_hash) values (%s, 'a@test', 'A', %s)", [user_id, stored]
            )
            app.execute(
                "insert into signing_keys (kid, purpose, secret) values ('refresh', 'refresh', %s)", [b"s" * 32]
            )
            app.execute(
                "insert into sessions (id, user_id, client, expires_at) values (%s, %s, 'c', now() + interval '1 day')",
                [session_id, user_id],
            )
        schema.migrate(at)
        database, redis = Database(at, Settings().database), connect(found.redis_url)
        keys = TokenKeys(database)
        accounts = Accounts(database, keys, Settings().auth, SignInLimits(redis), pool)
        assert (await accounts.sign_in("a@test", PASSWORD, "c", "::1", None, None)).user_id == user_id
        kept = await keys.refresh_token(RefreshClaims(session_id, 0))
        assert (await accounts.refresh(kept, None)).user_id == user_id, "the old secret is still in use"
        await pool.aclose()
        await redis.aclose()
        await database.close()
