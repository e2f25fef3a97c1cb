import type { Permission, Role } from "../../api/contract";

export const ROLES: readonly Role[] = ["viewer", "member", "admin", "owner"];

/** Nobody gives or takes a role above their own. */
export function rolesUpTo(role: Role | null | undefined): Role[] {
  return role ? ROLES.slice(0, ROLES.indexOf(role) + 1) : [];
}

export function isAbove(role: Role, mine: Role | null | undefined): boolean {
  return ROLES.indexOf(role) > (mine ? ROLES.indexOf(mine) : -1);
}

/** What a key may carry, after the work it is for. The daemon refuses the rest: a leaked key must not make others. */
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
