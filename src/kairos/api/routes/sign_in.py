"""Endpoints for sign-in, token refresh, passwords, and the caller's sessions."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Cookie, Request, Response
from pydantic import BaseModel, Field

from kairos.api.access.accounts import Accounts, SignedIn
from kairos.api.access.auth import Body, PersonDep, PrincipalDep
from kairos.api.access.permissions import Permission
from kairos.api.access.public_address import same_origin
from kairos.api.access.tokens import LocalSecret, Unauthenticated
from kairos.api.components import depends_on
from kairos.api.json_route import JsonRoute
from kairos.api.problems import responses
from kairos.config import Settings
from kairos.db.engine import Database
from kairos.db.models import Role
from kairos.db.repositories.access import people, sessions
from kairos.errors import KairosError, NotFound
from kairos.tenancy import ProjectId, Scope
from kairos.text import Text

COOKIE = "kairos_refresh"
COOKIE_PATH = "/api/auth"
DEVICE_COOKIE = "kairos_device"
DEVICE_COOKIE_S = 365 * 86_400

Password = Annotated[Text, Field(max_length=1024, examples=["a long passphrase"])]
AsCookie = Annotated[bool, Field(description="Set the refresh token as an HttpOnly cookie instead of returning it.")]


class ForeignOrigin(KairosError):
    """The refresh cookie was sent by a page of {origin!r}, which is not Kairos. Open the dashboard and sign in."""

    status, code, exit_code = 403, "foreign_origin", 6


class LoginBody(Body):
    email: Text = Field(max_length=320, examples=["admin@localhost"])
    password: Password
    project_id: UUID | None = Field(None, description="The project to start in; by default the first one.")
    device_token: str | None = Field(
        None, max_length=200, description="From an earlier sign-in; browsers send it as a cookie."
    )
    cookie: AsCookie = False


class SetupBody(Body):
    token: Text = Field(max_length=200, description="From the one-time link.", examples=["q1w2e3…"])
    password: Password
    cookie: AsCookie = False


class LocalBody(Body):
    secret: Text = Field(max_length=200, description="The content of `local-secret` in the daemon's data folder.")
    project_id: UUID | None = None


class RefreshBody(Body):
    refresh_token: Text | None = Field(None, max_length=200, description="Browsers send the cookie instead.")
    project_id: UUID | None = Field(None, description="The project of the new access token.")


class PasswordBody(Body):
    current: Password
    new: Password


class NameBody(Body):
    name: Text = Field(min_length=1, max_length=100, pattern=r"\S", examples=["Ada"])


class Tokens(BaseModel):
    access_token: str
    refresh_token: str | None = Field(description="Null if it was set as a cookie.")
    token_type: str = "Bearer"
    expires_in: int = Field(description="Seconds.")
    project_id: UUID | None
    device_token: str | None = Field(
        None, description="Send it with the next sign-in: failed attempts of other clients then do not count."
    )


class Me(BaseModel):
    user_id: UUID
    email: str
    name: str
    operator: bool
    project_id: UUID | None
    project_name: str | None
    role: Role | None
    permissions: list[Permission]


class SessionOut(BaseModel):
    id: UUID
    client: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    current: bool = Field(description="Whether it is the session in use.")


class SessionList(BaseModel):
    items: list[SessionOut]


routes = APIRouter(prefix="/api/auth", tags=["auth"], route_class=JsonRoute)


@dataclass(frozen=True, slots=True)
class SignInServices:
    settings: Settings
    database: Database
    accounts: Accounts
    local_secret: LocalSecret


ServicesDep = Annotated[SignInServices, depends_on(SignInServices)]


@routes.post("/login", responses=responses(401, 413, 422, 429, 503))
async def login(
    services: ServicesDep,
    request: Request,
    response: Response,
    body: LoginBody,
    kairos_device: Annotated[str | None, Cookie(max_length=200)] = None,
) -> Tokens:
    """Sign in with e-mail and password."""
    address = request.client.host if request.client else ""
    device = body.device_token or kairos_device
    signed_in = await services.accounts.sign_in(
        body.email, body.password, client_of(request), address, _id(body.project_id), device
    )
    return token_response(signed_in, services.settings, request, response, body.cookie)


@routes.post("/setup", responses=responses(401, 413, 422, 429, 503))
async def setup(services: ServicesDep, request: Request, response: Response, body: SetupBody) -> Tokens:
    """Set the password with a one-time link, for a new account or a reset, and sign in."""
    signed_in = await services.accounts.use_link(body.token, body.password, client_of(request))
    return token_response(signed_in, services.settings, request, response, body.cookie)


@routes.post("/local", responses=responses(401, 413, 422, 503))
async def local(services: ServicesDep, request: Request, response: Response, body: LocalBody) -> Tokens:
    """Sign in on the same machine, with the secret that only the daemon's user can read."""
    if not hmac.compare_digest(body.secret.encode(), services.local_secret.encode()):
        raise Unauthenticated(reason="The local secret is not this daemon's")
    user_id = await services.accounts.first_operator()
    signed_in = await services.accounts.open_session(user_id, "local", _id(body.project_id))
    return token_response(signed_in, services.settings, request, response, cookie=False)


@routes.post("/refresh", responses=responses(401, 403, 413, 422, 503))
async def refresh(
    services: ServicesDep,
    request: Request,
    response: Response,
    body: RefreshBody,
    kairos_refresh: Annotated[Text | None, Cookie(max_length=200)] = None,
) -> Tokens:
    """A new access token for the given project, and a new refresh token.

    Reuse of a refresh token within 10 seconds returns the same successor; later it ends the session.
    """
    token = body.refresh_token or kairos_refresh
    if token is None:
        raise Unauthenticated(reason="The request has no refresh token")
    if body.refresh_token is None:
        _same_origin(request)
    signed_in = await services.accounts.refresh(token, _id(body.project_id))
    return token_response(signed_in, services.settings, request, response, cookie=body.refresh_token is None)


@routes.post("/logout", status_code=204, responses=responses(401, 403, 503))
async def logout(services: ServicesDep, response: Response, who: PersonDep) -> None:
    """End this session."""
    await services.accounts.sign_out(who.user_id, who.session_id)
    response.delete_cookie(COOKIE, path=COOKIE_PATH)


@routes.post("/logout-everywhere", status_code=204, responses=responses(401, 403, 503))
async def logout_everywhere(services: ServicesDep, response: Response, who: PersonDep) -> None:
    """End all your sessions, including this one."""
    await services.accounts.sign_out_everywhere(who.user_id)
    response.delete_cookie(COOKIE, path=COOKIE_PATH)


@routes.get("/me", responses=responses(401, 503))
async def me(who: PrincipalDep) -> Me:
    """The account and the permissions of the credential in its project."""
    return Me(
        user_id=who.user_id,
        email=who.email,
        name=who.name,
        operator=who.operator,
        project_id=who.project_id,
        project_name=who.project_name,
        role=who.role,
        permissions=sorted(who.permissions),
    )


@routes.patch("/me", status_code=204, responses=responses(401, 403, 413, 422, 503))
async def rename_me(services: ServicesDep, who: PersonDep, body: NameBody) -> None:
    """Change your own name."""
    async with services.database.scope(Scope(user_id=who.user_id)) as session:
        await people.set_name(session, who.user_id, body.name.strip())


@routes.post("/password", status_code=204, responses=responses(401, 403, 413, 422, 429, 503))
async def change_password(services: ServicesDep, who: PersonDep, body: PasswordBody) -> None:
    """Change your password; your other sessions end."""
    await services.accounts.change_password(who.user_id, who.session_id, body.current, body.new)


@routes.get("/sessions", responses=responses(401, 403, 503))
async def list_sessions(services: ServicesDep, who: PersonDep) -> SessionList:
    """Your active sessions, the most recently used first."""
    async with services.database.scope(Scope(user_id=who.user_id)) as session:
        rows = await sessions.live_of(session, who.user_id)
    items = [
        SessionOut(
            id=row.id,
            client=row.client,
            created_at=row.created_at,
            last_used_at=row.rotated_at or row.created_at,
            expires_at=row.expires_at,
            current=row.id == who.session_id,
        )
        for row in rows
    ]
    return SessionList(items=items)


@routes.delete("/sessions/{session_id}", status_code=204, responses=responses(401, 403, 404, 422, 503))
async def end_session(services: ServicesDep, who: PersonDep, session_id: UUID) -> None:
    """End one of your sessions."""
    if not await services.accounts.sign_out(who.user_id, session_id):
        raise NotFound(what="session", id=session_id)


def token_response(
    signed_in: SignedIn, settings: Settings, request: Request, response: Response, cookie: bool
) -> Tokens:
    """The tokens for the response; for browsers, the refresh token is set as an HttpOnly cookie."""
    secure = request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")
    if cookie:
        response.set_cookie(
            COOKIE,
            signed_in.refresh_token,
            max_age=settings.auth.refresh_days * 86_400,
            path=COOKIE_PATH,
            httponly=True,
            samesite="strict",
            secure=secure,
        )
    if signed_in.device_token and cookie:
        response.set_cookie(
            DEVICE_COOKIE,
            signed_in.device_token,
            max_age=DEVICE_COOKIE_S,
            path=COOKIE_PATH,
            httponly=True,
            samesite="strict",
            secure=secure,
        )
    return Tokens(
        access_token=signed_in.access_token,
        refresh_token=None if cookie else signed_in.refresh_token,
        expires_in=signed_in.expires_in_s,
        project_id=signed_in.project_id,
        device_token=None if cookie else signed_in.device_token,
    )


def client_of(request: Request) -> str:
    """The client's user agent, shown in the list of sessions."""
    return (request.headers.get("user-agent") or "unknown")[:200]


def _same_origin(request: Request) -> None:
    """Raise `ForeignOrigin` unless the dashboard sent the request: other sites can make browsers send cookies."""
    if not same_origin(request):
        raise ForeignOrigin(origin=request.headers.get("origin") or "unknown")


def _id(value: UUID | None) -> ProjectId | None:
    return ProjectId(value) if value else None
