"""The scope of a transaction: the project and the user whose rows it may see.

Row-level security in PostgreSQL compares `project_id` and `user_id` columns with two settings of the transaction.
`db/engine.py` sets them from a `Scope` at the start of every transaction; with no scope, no rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType
from uuid import UUID

import uuid_utils.compat

ProjectId = NewType("ProjectId", UUID)
UserId = NewType("UserId", UUID)
TaskId = NewType("TaskId", UUID)


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562, 5.7): ids of one process sort by creation time."""
    return uuid_utils.compat.uuid7()


@dataclass(frozen=True, slots=True)
class Scope:
    """The rows that a transaction sees: those of one project, those of one user, both, or none."""

    project_id: ProjectId | None = None
    user_id: UserId | None = None
    operator: bool = False

    def settings(self) -> dict[str, str]:
        """The PostgreSQL settings for the scope; an empty string means none."""
        return {
            "kairos.project_id": str(self.project_id or ""),
            "kairos.user_id": str(self.user_id or ""),
            "kairos.operator": "on" if self.operator else "",
        }


NOBODY = Scope()
