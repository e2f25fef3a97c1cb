"""Every spelling of an e-mail address belongs to one account: case, composed letters, Turkish dotted and dotless i."""

from __future__ import annotations

import importlib
from uuid import uuid4

import pytest
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, select, text

from kairos.api.access.sign_in_limits import PER_ACCOUNT
from kairos.db.engine import Database
from kairos.db.models import AuditRow
from kairos.db.repositories.access import passwords
from kairos.embedded import Addresses
from kairos.folding import fold_email
from kairos.tenancy import Scope
from tests.kit.api import Caller, Reply
from tests.kit.kairos_app import KairosApp

PASSWORD = "correct horse battery"
MIGRATION = importlib.import_module("kairos.db.migrations.versions.0010_folded_emails")


@pytest.fixture
async def operator(app: KairosApp, anonymous: Caller) -> Caller:
    local = await anonymous.post("/api/auth/local", {"secret": app.parts.api.local_secret})
    return anonymous.with_token(local["access_token"])


def token_of(link: str) -> str:
    return link.rpartition("#")[2]


async def test_invitation_is_valid_for_any_spelling_of_its_address(owner: Caller, anonymous: Caller):
    name = f"Ilgın-{uuid4().hex}"
    invited = await owner.post("/api/invitations", {"email": f"{name}@Örnek.TR"})
    typed = f"{name.upper()}@O\u0308RNEK.tr"
    body = {"token": token_of(invited["link"]), "email": typed, "name": "Ilgın", "password": PASSWORD}
    registered = await anonymous.post("/api/auth/register", body)
    assert registered.status == 200, registered.body
    for form in (typed, f"{name}@örnek.tr", f" {name.replace('ı', 'İ')}@ÖRNEK.TR".strip(), fold_email(typed)):
        signed_in = await anonymous.post("/api/auth/login", {"email": form, "password": PASSWORD})
        assert signed_in.status == 200, form
    again = await owner.post("/api/invitations", {})
    body |= {"token": token_of(again["link"]), "email": f"{name.lower()}@örnek.tr"}
    refused = await anonymous.post("/api/auth/register", body)
    assert (refused.status, refused["code"]) == (409, "email_taken")


async def test_wrong_passwords_with_any_spelling_count_for_one_account(owner: Caller, anonymous: Caller):
    name = f"ırmak-{uuid4().hex}"
    statuses = []
    for number in range(30):
        form = (name, name.upper(), name.replace("ı", "İ"))[number % 3]
        reply = await anonymous.post("/api/auth/login", {"email": f"{form}@x.tr", "password": "wrong wrong"})
        statuses.append(reply.status)
        if reply.status == 429:
            break
    assert statuses[-1] == 429, statuses
    assert len(statuses) <= 12


async def with_reset_link(operator: Caller, anonymous: Caller, email: str) -> Reply:
    """Set a password with a reset link for this e-mail address, and return the reply with the account's tokens."""
    reset = await operator.post("/api/users/reset-link", {"email": email})
    return await anonymous.post("/api/auth/setup", {"token": token_of(reset["link"]), "password": PASSWORD})


def migrate_with(addresses: Addresses, *emails: str) -> None:
    """Insert accounts from before addresses were folded, each named after its e-mail address, and run the migration."""
    engine = create_engine(addresses.migration_url)
    with engine.begin() as connection:
        for email in emails:
            connection.execute(
                text("insert into users (id, email, name) values (gen_random_uuid(), :email, :email)"), {"email": email}
            )
        with Operations.context(MigrationContext.configure(connection)):
            MIGRATION.upgrade()
    engine.dispose()


async def test_old_accounts_are_folded_and_colliding_ones_can_sign_in(addresses: Addresses, database: Database):
    unique = uuid4().hex
    plain, colliding, lone = f"ilgin-{unique}@x.tr", f"ılgın-{unique}@x.tr", f"straße-{unique}@ıı.tr"
    migrate_with(addresses, plain, colliding, lone)
    async with database.system() as connection:
        names = {form: await passwords.by_email(connection, form) for form in (plain, colliding, lone, lone.upper())}
    assert {form: found and found.name for form, found in names.items()} == {
        plain: plain,
        colliding: colliding,
        lone: lone,
        lone.upper(): lone,
    }


async def test_reset_link_is_for_the_account_that_signs_in_with_the_address(
    addresses: Addresses, operator: Caller, anonymous: Caller
):
    unique = uuid4().hex
    plain, colliding = f"ilgin-{unique}@x.tr", f"ılgın-{unique}@x.tr"
    migrate_with(addresses, plain, colliding)
    for email in (colliding, plain, f" {colliding}"):
        tokens = await with_reset_link(operator, anonymous, email)
        me = await anonymous.with_token(tokens["access_token"]).get("/api/auth/me")
        assert me["email"] == email.strip()


async def test_accounts_with_the_same_folded_address_share_neither_device_nor_invitation(
    addresses: Addresses, operator: Caller, owner: Caller, anonymous: Caller
):
    unique = uuid4().hex
    plain, colliding = f"ilgin-{unique}@x.tr", f"ılgın-{unique}@x.tr"
    migrate_with(addresses, plain, colliding)
    tokens = {email: await with_reset_link(operator, anonymous, email) for email in (plain, colliding)}
    for invitee, other in ((plain, colliding), (colliding, plain)):
        invited = await owner.post("/api/invitations", {"email": invitee.replace("x.tr", "X.tr")})
        body = {"token": token_of(invited["link"])}
        refused = await anonymous.with_token(tokens[other]["access_token"]).post("/api/auth/accept", body)
        assert (refused.status, refused["code"]) == (409, "not_your_invitation")
        joined = await anonymous.with_token(tokens[invitee]["access_token"]).post("/api/auth/accept", body)
        assert joined.status == 200, joined.body
    guess = {"email": colliding, "password": "wrong wrong"}
    statuses = {(await anonymous.post("/api/auth/login", guess)).status for _ in range(PER_ACCOUNT + 1)}
    assert statuses == {401, 429}, "further guesses from unknown devices are refused"
    for form in (colliding, plain):
        theirs, mine = (
            tokens[email]["device_token"] for email in ((plain, colliding) if form == colliding else (colliding, plain))
        )
        good = {"email": form, "password": PASSWORD}
        assert (await anonymous.post("/api/auth/login", good | {"device_token": theirs})).status == 429
        assert (await anonymous.post("/api/auth/login", good | {"device_token": mine})).status == 200


async def test_audit_log_contains_addresses_as_stored(app: KairosApp, owner: Caller, anonymous: Caller):
    unique = uuid4().hex
    await owner.post("/api/invitations", {"email": f"ADA-{unique}@Test"})
    for email in (f"{app.user_id}@TEST".upper(), f"NOBODY-{unique}@Test"):
        await anonymous.post("/api/auth/login", {"email": email, "password": "wrong wrong"})
    async with app.database.scope(Scope(app.project_id, app.user_id, operator=True)) as session:
        entries = select(AuditRow.target).where(AuditRow.action.in_(("member.invited", "sign_in.refused")))
        targets = set((await session.execute(entries)).scalars())
    assert {f"ada-{unique}@test", f"{app.user_id}@test", f"nobody-{unique}@test"} <= targets
    assert not any(target.endswith(("@Test", "@TEST")) for target in targets if target and unique in target)


@pytest.mark.parametrize("email", ["admin@localhost", "ADMIN@LOCALHOST", "Admın@localhost"])
async def test_first_admin_is_found_by_any_spelling(database: Database, owner: Caller, email: str):
    async with database.system() as connection:
        assert await passwords.by_email(connection, email)
