import type { Adapter, AdapterState } from "../../../api/learning";

export type AdapterAction = "promote" | "refuse" | "roll_back" | "delete";

/** The transitions that promotion.py permits. */
const ALLOWED: Record<AdapterState, readonly AdapterAction[]> = {
  candidate: ["refuse", "delete"],
  needs_approval: ["promote", "refuse", "delete"],
  canary: ["promote", "roll_back"],
  live: ["roll_back"],
  retired: ["promote", "delete"],
  refused: ["delete"],
  deleted: [],
};

/**
 * The actions permitted for an adapter. A rollback names a base model and retires its canary first. Beside a canary,
 * the live adapter cannot be rolled back; while `others` are unknown, there may be one.
 */
export function actionsOf(adapter: Adapter, others: readonly Adapter[] | undefined): readonly AdapterAction[] {
  const { base, state } = adapter;
  const canaryFirst = state === "live" && (!others || others.some((one) => one.base === base && one.state === "canary"));
  return canaryFirst ? [] : ALLOWED[state];
}

/** The adapters by base model, in the order of names; newest first within a base model. */
export function byBase(adapters: readonly Adapter[]): [string, Adapter[]][] {
  const groups = new Map<string, Adapter[]>();
  for (const adapter of adapters) {
    groups.set(adapter.base, [...(groups.get(adapter.base) ?? []), adapter]);
  }
  return [...groups]
    .map(([base, all]): [string, Adapter[]] => [base, all.toSorted((a, b) => b.version - a.version)])
    .toSorted(([a], [b]) => a.localeCompare(b));
}
