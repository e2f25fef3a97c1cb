"""The table of roles and permissions. Every route declares the permission it needs."""

from __future__ import annotations

from enum import StrEnum

from kairos.db.models import Role


class Permission(StrEnum):
    """A permission that a route requires. API keys have a subset of them as scopes."""

    TASKS_READ = "tasks:read"
    TASKS_WRITE = "tasks:write"
    TASKS_LABEL = "tasks:label"
    DATASET_READ = "dataset:read"
    DATASET_WRITE = "dataset:write"
    TRAINING_READ = "training:read"
    TRAINING_WRITE = "training:write"
    EVENTS_READ = "events:read"
    MODELS_READ = "models:read"
    AGENTS_READ = "agents:read"
    CONFIG_READ = "config:read"
    MEMBERS_READ = "members:read"
    CACHE_MANAGE = "cache:manage"
    AUDIT_READ = "audit:read"
    MEMBERS_MANAGE = "members:manage"
    KEYS_MANAGE = "keys:manage"
    PROJECT_MANAGE = "project:manage"
    PROJECT_EXPORT = "project:export"
    PROJECT_DELETE = "project:delete"
    PROVIDERS_MANAGE = "providers:manage"


LEAST_ROLE = {
    Permission.TASKS_READ: Role.VIEWER,
    Permission.DATASET_READ: Role.VIEWER,
    Permission.TRAINING_READ: Role.VIEWER,
    Permission.EVENTS_READ: Role.VIEWER,
    Permission.MODELS_READ: Role.VIEWER,
    Permission.AGENTS_READ: Role.VIEWER,
    Permission.CONFIG_READ: Role.VIEWER,
    Permission.MEMBERS_READ: Role.VIEWER,
    Permission.TASKS_WRITE: Role.MEMBER,
    Permission.TASKS_LABEL: Role.MEMBER,
    Permission.DATASET_WRITE: Role.MEMBER,
    Permission.TRAINING_WRITE: Role.ADMIN,
    Permission.CACHE_MANAGE: Role.ADMIN,
    Permission.AUDIT_READ: Role.ADMIN,
    Permission.MEMBERS_MANAGE: Role.ADMIN,
    Permission.KEYS_MANAGE: Role.ADMIN,
    Permission.PROJECT_MANAGE: Role.ADMIN,
    Permission.PROJECT_EXPORT: Role.ADMIN,
    Permission.PROJECT_DELETE: Role.OWNER,
    Permission.PROVIDERS_MANAGE: Role.OWNER,
}
"""The lowest role with the permission; every higher role has it too."""

NOT_FOR_KEYS = frozenset(
    {
        Permission.MEMBERS_MANAGE,
        Permission.KEYS_MANAGE,
        Permission.PROJECT_DELETE,
        Permission.PROVIDERS_MANAGE,
    }
)
"""A leaked key must not create keys, admit members, delete the project, or send its prompts to another server."""

RANK = {Role.VIEWER: 0, Role.MEMBER: 1, Role.ADMIN: 2, Role.OWNER: 3}


def granted(role: Role | None) -> frozenset[Permission]:
    """The permissions of a role in its project; none without a role."""
    if role is None:
        return frozenset()
    return frozenset(permission for permission, least in LEAST_ROLE.items() if RANK[role] >= RANK[least])


def table() -> str:
    """The permissions of every role as a text table, for the documentation and the tests."""
    roles = sorted(Role, key=lambda role: RANK[role])
    width = max(len(permission) for permission in Permission)
    head = " ".join([" " * width, *roles])
    rows = [
        " ".join([f"{p:<{width}}", *(("x" if p in granted(role) else ".").ljust(len(role)) for role in roles)])
        for p in LEAST_ROLE
    ]
    return "\n".join([head, *rows])
