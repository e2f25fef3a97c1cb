"""Issue and verify access tokens (JWT, RFC 7519), refresh tokens and one-time secrets, with keys shared by all daemons.

A refresh token contains its session and generation, protected by a MAC. It need not be stored, and the successor of a
token can be issued again if the response with it was lost.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import jwt

from kairos.db.engine import Database
from kairos.db.repositories.access import signing_keys
from kairos.errors import KairosError
from kairos.tenancy import ProjectId, UserId, new_id

ALGORITHM = "HS256"
KEYS_LIFE_S = 60
"""Lifetime of a daemon's copy of the keys; a token with an unknown `kid` causes a reload."""
UNKNOWN_KID_PAUSE_S = 1
GENERATION_BYTES = 4


class LocalSecret(str):
    """Signs in on the same machine. It is in a 0600 file of the data folder, which only the daemon's user can read."""

    __slots__ = ()


class Unauthenticated(KairosError):
    """{reason}. Sign in again: `kairos login`, or POST /api/auth/login."""

    status, code, exit_code = 401, "unauthenticated", 6


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """The claims of an access token: user, session and project. The role is not included; it is read per request."""

    user_id: UserId
    session_id: UUID
    project_id: ProjectId | None


@dataclass(frozen=True, slots=True)
class RefreshClaims:
    """The claims of a refresh token: its session, and its number in the session."""

    session_id: UUID
    generation: int


class TokenKeys:
    """The signing keys, stored in PostgreSQL and shared by all daemons."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keys: dict[str, bytes] = {}
        self._secrets: dict[str, bytes] = {}
        self._newest = ""
        self._read_at = float("-inf")

    async def issue(self, claims: AccessClaims, life_s: int) -> str:
        """Sign an access token."""
        await self._fresh()
        now = int(time.time())
        payload = {
            "sub": str(claims.user_id),
            "sid": str(claims.session_id),
            "project_id": str(claims.project_id) if claims.project_id else None,
            "jti": str(new_id()),
            "iat": now,
            "exp": now + life_s,
        }
        return jwt.encode(payload, self._keys[self._newest], ALGORITHM, headers={"kid": self._newest})

    async def read(self, token: str) -> AccessClaims:
        """Verify a token. Raises `Unauthenticated`."""
        try:
            key = await self._key(jwt.get_unverified_header(token).get("kid"))
            payload = jwt.decode(token, key, [ALGORITHM], options={"require": ["exp", "sub", "sid", "jti"]})
            project_id = payload.get("project_id")
            return AccessClaims(
                UserId(UUID(payload["sub"])),
                UUID(payload["sid"]),
                ProjectId(UUID(project_id)) if project_id else None,
            )
        except jwt.ExpiredSignatureError as error:
            raise Unauthenticated(reason="The access token has expired") from error
        except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError) as error:
            raise Unauthenticated(reason="The access token is not valid") from error

    async def rotate(self, life_s: int) -> str:
        """Create a new signing key; the old ones verify until their last token has expired."""
        kid = secrets.token_hex(8)
        async with self._database.system() as connection:
            await signing_keys.add_access_key(connection, kid, secrets.token_bytes(32))
            await signing_keys.retire_access_keys(connection, but=kid, after=timedelta(seconds=life_s + KEYS_LIFE_S))
        await self._fresh(0)
        return kid

    async def refresh_token(self, claims: RefreshClaims) -> str:
        """The refresh token of this session and generation."""
        named = claims.session_id.bytes + claims.generation.to_bytes(GENERATION_BYTES, "big")
        return await self._signed("refresh", named)

    async def read_refresh(self, token: str) -> RefreshClaims:
        """Verify a refresh token. Raises `Unauthenticated`."""
        named = await self._verified("refresh", token, 16 + GENERATION_BYTES)
        if named is None:
            raise Unauthenticated(reason="The refresh token is not valid")
        return RefreshClaims(UUID(bytes=named[:16]), int.from_bytes(named[16:], "big"))

    async def device_token(self, account: UUID) -> str:
        """A token that identifies the client at later sign-ins as a known device of this account."""
        return await self._signed("device", account.bytes + secrets.token_bytes(16))

    async def read_device(self, token: str, account: UUID) -> str | None:
        """The device's key for counting attempts; None if the token does not belong to this account."""
        named = await self._verified("device", token, 32) if token else None
        return named[16:].hex() if named and hmac.compare_digest(named[:16], account.bytes) else None

    async def keyed_hash(self, api_key: str) -> bytes:
        """The keyed hash of an API key, which is stored in its place."""
        return await self._mac("api_key", api_key.encode())

    async def _signed(self, purpose: str, named: bytes) -> str:
        return base64.urlsafe_b64encode(named + await self._mac(purpose, named)).decode().rstrip("=")

    async def _verified(self, purpose: str, token: str, length: int) -> bytes | None:
        """The payload of a token made by `_signed`; None for any other token."""
        try:
            raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except ValueError:
            return None
        named, mac = raw[:length], raw[length:]
        return named if len(mac) == 32 and hmac.compare_digest(mac, await self._mac(purpose, named)) else None

    async def _mac(self, purpose: str, message: bytes) -> bytes:
        if purpose not in self._secrets:
            async with self._database.system() as connection:
                fresh = secrets.token_bytes(32)
                self._secrets[purpose] = await signing_keys.shared_secret(connection, purpose, fresh)
        return hmac.digest(self._secrets[purpose], message, "sha256")

    async def _key(self, kid: object) -> bytes:
        await self._fresh()
        if kid not in self._keys:
            await self._fresh(UNKNOWN_KID_PAUSE_S)
        if not isinstance(kid, str) or kid not in self._keys:
            raise Unauthenticated(reason="The access token was signed with an unknown key")
        return self._keys[kid]

    async def _fresh(self, life_s: float = KEYS_LIFE_S) -> None:
        if self._keys and time.monotonic() - self._read_at < life_s:
            return
        async with self._database.system() as connection:
            rows = await signing_keys.access_keys(connection)
            if not rows:
                await signing_keys.add_access_key(connection, secrets.token_hex(8), secrets.token_bytes(32))
                rows = await signing_keys.access_keys(connection)
        self._keys = {row.kid: row.secret for row in rows}
        self._newest, self._read_at = rows[0].kid, time.monotonic()


def new_secret() -> str:
    """An opaque token of 256 bits."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> bytes:
    """The hash of an opaque token, which is stored in its place. SHA-256 suffices, because the token is random."""
    return hashlib.sha256(secret.encode()).digest()
