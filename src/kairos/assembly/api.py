"""Build the components that only the API uses: accounts, tokens, live events, refused requests and readiness."""

from __future__ import annotations

import secrets
from contextlib import AsyncExitStack
from dataclasses import dataclass

from kairos.api.access.accounts import Accounts
from kairos.api.access.first_account import FirstAccount
from kairos.api.access.passwords import Passwords
from kairos.api.access.sign_in_limits import SignInLimits
from kairos.api.access.tokens import LocalSecret, TokenKeys
from kairos.api.live.event_feed import EventFeed
from kairos.api.readiness import Readiness
from kairos.api.refusals import Refusals
from kairos.assembly.storage import DataStores
from kairos.background_tasks import BackgroundTask
from kairos.config import Settings


@dataclass(frozen=True, slots=True)
class Api:
    """The components that only the API uses."""

    keys: TokenKeys
    accounts: Accounts
    first_account: FirstAccount
    events: EventFeed
    refusals: Refusals
    readiness: Readiness
    local_secret: LocalSecret
    background: tuple[BackgroundTask, ...]


async def build_api(stack: AsyncExitStack, settings: Settings, storage: DataStores, readiness: Readiness) -> Api:
    """Build the components, and create the first account of a new installation."""
    database = storage.database
    first_account = FirstAccount(database)
    await first_account.create()
    passwords = Passwords()
    stack.push_async_callback(passwords.aclose)
    keys = TokenKeys(database)
    accounts = Accounts(database, keys, settings.auth, SignInLimits(storage.redis), passwords)
    events, refusals = EventFeed(database, storage.pubsub), Refusals(database)
    return Api(
        keys=keys,
        accounts=accounts,
        first_account=first_account,
        events=events,
        refusals=refusals,
        readiness=readiness,
        local_secret=LocalSecret(secrets.token_urlsafe(32)),
        background=(events.run, refusals.run),
    )
