"""Password hashes. Only the system role has access; the app role can neither read nor change them."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from kairos.folding import email_forms


@dataclass(frozen=True, slots=True)
class SignIn:
    """Account data for sign-in."""

    id: UUID
    name: str
    password_hash: str | None
    operator: bool
    disabled: bool
    email: str
    """The stored form."""


async def by_email(connection: AsyncConnection, email: str) -> SignIn | None:
    """The account of an e-mail address, in any spelling with the same fold."""
    for form in email_forms(email):
        row = (await connection.execute(text("select * from kairos_account(:email)"), {"email": form})).one_or_none()
        if row:
            return SignIn(*row, email=form)
    return None


async def stored_hash(connection: AsyncConnection, user_id: UUID) -> str | None:
    """The password hash of an account; None if it is disabled."""
    return await connection.scalar(text("select kairos_password_hash(:id)"), {"id": user_id})


async def rehash(connection: AsyncConnection, user_id: UUID, old: str, new: str) -> None:
    """Store a hash of the same password with newer parameters, unless the password was changed meanwhile."""
    values = {"id": user_id, "old": old, "new": new}
    await connection.execute(text("select kairos_rehash_password(:id, :old, :new)"), values)


async def change(connection: AsyncConnection, user_id: UUID, new: str, keep: UUID) -> bool:
    """Set a new hash and end all other sessions, links and tickets of the account. Returns False if it is disabled."""
    values = {"id": user_id, "new": new, "keep": keep}
    return bool(await connection.scalar(text("select kairos_set_password(:id, :new, :keep)"), values))


async def spend_link(connection: AsyncConnection, token_hash: bytes, new: str) -> UUID | None:
    """Set the hash with a one-time link, and end all sessions, tickets and other links of its account.

    Returns the user id; None if the link is unknown, used or expired, or the account is disabled.
    """
    return await connection.scalar(text("select kairos_spend_link(:token, :new)"), {"token": token_hash, "new": new})
