"""Projects and people for tests."""

from __future__ import annotations

from kairos.db.engine import Database
from kairos.db.repositories.access import people
from kairos.tenancy import ProjectId, Scope, UserId, new_id


async def new_project_in(database: Database, name: str = "Test") -> tuple[ProjectId, UserId]:
    """Create a project with an owner."""
    user_id, project_id = UserId(new_id()), ProjectId(new_id())
    async with database.scope(Scope(project_id, user_id, operator=True)) as session:
        await people.add_user(session, user_id, f"{user_id}@test", "Test", operator=False)
        await people.add_project(session, project_id, name, user_id)
    return project_id, user_id
