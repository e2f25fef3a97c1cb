"""Manage accounts and sessions, independent of HTTP: passwords, links, sign-in and refresh."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from kairos.api.access.passwords import Passwords, require_length
from kairos.api.access.sign_in_limits import SignInLimits, by_device, by_link, by_session, by_stranger
from kairos.api.access.tokens import AccessClaims, RefreshClaims, TokenKeys, Unauthenticated, digest, new_secret
from kairos.config import AuthSettings
from kairos.db.engine import Database, Session
from kairos.db.models import AuditAction
from kairos.db.repositories.access import passwords, people, sessions
from kairos.errors import InvalidInput, KairosError, NotFound
from kairos.folding import fold_email
from kairos.tenancy import NOBODY, ProjectId, Scope, UserId, new_id

RESET_LIFE = timedelta(days=1)
NO_ACCOUNT = UUID(int=0)
"""Account id for unknown addresses, so that checking a device token takes the same time for them."""
REUSE_GRACE = timedelta(seconds=10)
"""A replaced refresh token gets the same successor again for this long: the response may have been lost, or two
requests of one browser may have been concurrent."""


class AccountDisabled(KairosError):
    """The account {email} is disabled, so a link would not work. Enable the account first."""

    status, code, exit_code = 409, "account_disabled", 5


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session's tokens."""

    access_token: str
    refresh_token: str
    expires_in_s: int
    user_id: UserId
    project_id: ProjectId | None
    device_token: str | None = None
    """Identifies the client at later sign-ins as one that has signed in before."""


class Accounts:
    """The passwords and sessions of users."""

    def __init__(
        self, database: Database, keys: TokenKeys, settings: AuthSettings, limits: SignInLimits, pool: Passwords
    ) -> None:
        self._database = database
        self._keys = keys
        self._settings = settings
        self._limits = limits
        self.passwords = pool

    async def sign_in(
        self, email: str, password: str, client: str, address: str, project_id: ProjectId | None, device: str | None
    ) -> SignedIn:
        """Sign in by e-mail and password. `device` is the device token of an earlier sign-in, if the client has one.

        Raises `Unauthenticated` with the same message and after the same time for every cause, `RateLimited` after too
        many failures, and `HashingBusy`.
        """
        async with self._database.system() as connection:
            account = await passwords.by_email(connection, email)
        known = await self._keys.read_device(device or "", account.id if account else NO_ACCOUNT)
        async with self._limits.attempt(*(by_device(known) if known else by_stranger(email, address))) as attempt:
            stored = account.password_hash if account and not account.disabled else None
            matches, better = await self.passwords.matches(password, stored)
            if matches:
                attempt.succeeded()
        if account is None or stored is None or not matches:
            await self._audit(AuditAction.SIGN_IN_REFUSED, None, account.email if account else fold_email(email))
            raise Unauthenticated(reason="E-mail or password is wrong")
        if better:
            async with self._database.system() as connection:
                await passwords.rehash(connection, account.id, stored, better)
        return await self.open_session(UserId(account.id), client, project_id)

    async def use_link(self, token: str, password: str, client: str) -> SignedIn:
        """Use a one-time link: set the password, end all sessions and other links, and sign in.

        Raises `Unauthenticated`, `WeakPassword`, `RateLimited`, `HashingBusy`.
        """
        require_length(password)
        async with self._database.scope(NOBODY) as session:
            user_id = await sessions.by_link(session, digest(token))
        if user_id is None:
            raise Unauthenticated(reason="The link was already used, has expired, or is not valid")
        async with self._database.scope(Scope(user_id=UserId(user_id))) as session:
            user = await people.user(session, user_id)
        async with self._limits.attempt(*by_link(digest(token))):
            hashed = await self.passwords.hashed(password, *((user.email, user.name) if user else ()))
        async with self._database.system() as connection:
            spent = await passwords.spend_link(connection, digest(token), hashed)
        if spent is None:
            raise Unauthenticated(reason="The link was already used")
        async with self._database.scope(Scope(user_id=UserId(user_id))) as session:
            await people.audit(session, AuditAction.PASSWORD_SET, user_id=user_id)
        return await self.open_session(UserId(user_id), client, None)

    async def first_hash(self, link: bytes, password: str, email: str, name: str) -> str:
        """The hash of a new account's password; `link` is the digest of the invitation.

        Raises `WeakPassword`, `RateLimited`, `HashingBusy`.
        """
        async with self._limits.attempt(*by_link(link)):
            return await self.passwords.hashed(password, email, name)

    async def reset_link(self, operator_id: UserId, user_id: UserId) -> tuple[str, datetime]:
        """The token of a one-time link to reset a user's password, and its expiry.

        Raises `NotFound`, `AccountDisabled`.
        """
        token = new_secret()
        async with self._database.scope(Scope(user_id=operator_id, operator=True)) as session:
            user = await people.user(session, user_id)
            if user is None:
                raise NotFound(what="user", id=user_id)
            if user.disabled_at is not None:
                raise AccountDisabled(email=user.email)
            await sessions.add_link(session, digest(token), user_id, "reset", RESET_LIFE)
            await people.audit(session, AuditAction.PASSWORD_RESET_LINK, user_id=operator_id, target=user.email)
        return token, datetime.now(UTC) + RESET_LIFE

    async def change_password(self, user_id: UserId, session_id: UUID, current: str, new: str) -> None:
        """Set a new password and end the user's other sessions and all links.

        Raises `InvalidInput`, `RateLimited` after too many wrong ones, and `HashingBusy`.
        """
        async with self._limits.attempt(*by_session(session_id)) as attempt:
            async with self._database.system() as connection:
                stored = await passwords.stored_hash(connection, user_id)
            matches, _ = await self.passwords.matches(current, stored)
            if matches:
                attempt.succeeded()
        if not matches:
            raise InvalidInput(where="current", problem="it is not your password", remedy="Enter your current password")
        async with self._database.scope(Scope(user_id=user_id)) as session:
            user = await people.user(session, user_id)
        hashed = await self.passwords.hashed(new, *((user.email, user.name) if user else ()))
        async with self._database.system() as connection:
            if not await passwords.change(connection, user_id, hashed, session_id):
                raise Unauthenticated(reason="The account is disabled")
        async with self._database.scope(Scope(user_id=user_id)) as session:
            await people.audit(session, AuditAction.PASSWORD_CHANGED, user_id=user_id)

    async def first_operator(self) -> UserId:
        """The oldest operator account, for which the local secret authenticates. Raises `Unauthenticated`."""
        async with self._database.scope(Scope(operator=True)) as session:
            user_id = await people.first_operator(session)
        if user_id is None:
            raise Unauthenticated(reason="There is no operator account")
        return UserId(user_id)

    async def open_session(self, user_id: UserId, client: str, project_id: ProjectId | None) -> SignedIn:
        """Start a session in the given project, or in the user's first active one."""
        session_id = new_id()
        async with self._database.scope(Scope(user_id=user_id)) as session:
            await sessions.add(session, session_id, user_id, client, self._life)
            await sessions.trim(session, user_id, self._settings.sessions_per_user)
            active = await _active_project(session, user_id, project_id)
            await people.audit(session, AuditAction.SIGN_IN, user_id=user_id, data={"client": client})
        signed_in = await self._tokens(user_id, RefreshClaims(session_id, 0), active)
        return replace(signed_in, device_token=await self._keys.device_token(user_id))

    async def refresh(self, refresh_token: str, project_id: ProjectId | None) -> SignedIn:
        """A new pair of tokens for a refresh token, which is then used up.

        Reuse after the grace period ends the session, because the token was probably stolen. Raises `Unauthenticated`.
        """
        claims = await self._keys.read_refresh(refresh_token)
        async with self._database.scope(NOBODY) as session:
            known = await sessions.known(session, claims.session_id)
        if known is None:
            raise Unauthenticated(reason="The session has ended")
        user_id = UserId(known.user_id)
        async with self._database.scope(Scope(user_id=user_id)) as session:
            if claims.generation == known.generation:
                await sessions.rotate(session, claims.session_id, claims.generation, self._life)
                reused = False  # also if a concurrent request was first
            else:
                reused = not _just_replaced(claims, known)
            if reused:
                await sessions.revoke(session, claims.session_id)
                await people.audit(
                    session, AuditAction.SESSION_TOKEN_REUSED, user_id=user_id, target=str(claims.session_id)
                )
            active = await _active_project(session, user_id, project_id)
        if reused:
            raise Unauthenticated(reason="The refresh token was already used, so the session was ended")
        return await self._tokens(user_id, RefreshClaims(claims.session_id, claims.generation + 1), active)

    async def sign_out(self, user_id: UserId, session_id: UUID) -> bool:
        """End one of the user's sessions; whether it existed and was active."""
        async with self._database.scope(Scope(user_id=user_id)) as session:
            ended = await sessions.revoke(session, session_id)
            if ended:
                await people.audit(session, AuditAction.SIGN_OUT, user_id=user_id, target=str(session_id))
        return ended

    async def sign_out_everywhere(self, user_id: UserId) -> None:
        async with self._database.scope(Scope(user_id=user_id)) as session:
            count = await sessions.revoke_all(session, user_id)
            await people.audit(session, AuditAction.SIGN_OUT_EVERYWHERE, user_id=user_id, data={"sessions": count})

    async def switch(self, user_id: UserId, session_id: UUID, project_id: ProjectId) -> str:
        """An access token for another project of the user. The caller checks the membership."""
        return await self._keys.issue(AccessClaims(user_id, session_id, project_id), self.access_life_s)

    @property
    def access_life_s(self) -> int:
        return self._settings.access_minutes * 60

    @property
    def _life(self) -> timedelta:
        return timedelta(days=self._settings.refresh_days)

    async def _tokens(self, user_id: UserId, claims: RefreshClaims, project_id: ProjectId | None) -> SignedIn:
        access = await self._keys.issue(AccessClaims(user_id, claims.session_id, project_id), self.access_life_s)
        return SignedIn(access, await self._keys.refresh_token(claims), self.access_life_s, user_id, project_id)

    async def _audit(self, action: AuditAction, user_id: UserId | None, target: str) -> None:
        async with self._database.scope(Scope(user_id=user_id)) as session:
            await people.audit(session, action, user_id=user_id, target=target)


def _just_replaced(claims: RefreshClaims, known: sessions.KnownSession) -> bool:
    fresh = known.rotated_at is not None and datetime.now(UTC) - known.rotated_at < REUSE_GRACE
    return fresh and claims.generation == known.generation - 1


async def _active_project(session: Session, user_id: UserId, wanted: ProjectId | None) -> ProjectId | None:
    mine = await people.projects_of(session, user_id)
    chosen = next((project for project in mine if project.id == wanted), None)
    chosen = chosen or next((project for project in mine if project.archived_at is None), None)
    return ProjectId(chosen.id) if chosen else None
