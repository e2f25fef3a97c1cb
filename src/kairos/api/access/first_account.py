"""Create the first account of an installation, and links to set its password."""

from __future__ import annotations

from datetime import timedelta

from kairos.api.access.tokens import digest, new_secret
from kairos.db.engine import Database, Duplicate
from kairos.db.models import AuditAction
from kairos.db.repositories.access import people, sessions
from kairos.tenancy import NOBODY, ProjectId, Scope, UserId, new_id

LINK_LIFE = timedelta(days=7)
FIRST_ADMIN = "admin@localhost"
FIRST_PROJECT = "Default"


class FirstAccount:
    """The admin account of a new installation, which is an operator."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self) -> None:
        """Create the admin and the Default project, unless users exist or another daemon creates them first."""
        async with self._database.scope(NOBODY) as session:
            if await people.any_user(session):
                return
        user_id, project_id = UserId(new_id()), ProjectId(new_id())
        try:
            async with self._database.scope(Scope(project_id, user_id, operator=True)) as session:
                await people.add_user(session, user_id, FIRST_ADMIN, "Admin", operator=True)
                await people.add_project(session, project_id, FIRST_PROJECT, user_id)
                await people.audit(session, AuditAction.USER_CREATED, user_id=user_id, target=FIRST_ADMIN)
        except Duplicate:
            return

    async def new_link(self) -> str | None:
        """The token of a new link to set the first operator's password; None once an operator has one.

        Links of earlier starts and of other daemons stay valid until they expire or a password is set, so the link in
        any log works.
        """
        async with self._database.scope(NOBODY) as session:
            user_id = await people.operator_without_password(session)
        if user_id is None:
            return None
        token = new_secret()
        async with self._database.scope(Scope(user_id=UserId(user_id))) as session:
            await sessions.add_link(session, digest(token), user_id, "setup", LINK_LIFE)
        return token
