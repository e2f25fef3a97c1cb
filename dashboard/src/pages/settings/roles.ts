import type { Permission, Role } from "../../api/types";

export const ROLES: readonly Role[] = ["viewer", "member", "admin", "owner"];

/** Members cannot grant or revoke a role above their own. */
export function rolesUpTo(role: Role | null | undefined): Role[] {
  return role ? ROLES.slice(0, ROLES.indexOf(role) + 1) : [];
}

export function isAbove(role: Role, mine: Role | null | undefined): boolean {
  return ROLES.indexOf(role) > (mine ? ROLES.indexOf(mine) : -1);
}

/** The scopes that a key can have, grouped by use. The daemon refuses others: a leaked key must not create keys. */
export const KEY_SCOPES: readonly Permission[] = [
  "tasks:read",
  "tasks:write",
  "tasks:label",
  "dataset:read",
  "dataset:write",
  "training:read",
  "training:write",
  "events:read",
  "models:read",
  "agents:read",
  "config:read",
  "members:read",
  "cache:manage",
  "audit:read",
  "project:manage",
  "project:export",
];
