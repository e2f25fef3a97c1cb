import type { Adapter, AdapterState } from "../../../api/learning";

export type Act = "promote" | "refuse" | "roll_back" | "delete";

/** As promotion.py allows them. */
const ACTS: Record<AdapterState, readonly Act[]> = {
  candidate: ["refuse", "delete"],
  needs_approval: ["promote", "refuse", "delete"],
  canary: ["promote", "roll_back"],
  live: ["roll_back"],
  retired: ["promote", "delete"],
  refused: ["delete"],
  deleted: [],
};

/**
 * What may be done with an adapter. Rolling back names a base, and the canary of it leaves first: beside one, the live
 * adapter cannot be asked to go, and while `others` are unknown, there may be one.
 */
export function actsOf(adapter: Adapter, others: readonly Adapter[] | undefined): readonly Act[] {
  const { base, state } = adapter;
  const canaryFirst = state === "live" && (!others || others.some((one) => one.base === base && one.state === "canary"));
  return canaryFirst ? [] : ACTS[state];
}

/** By base, in the order of their names; of each base the newest first. */
export function byBase(adapters: readonly Adapter[]): [string, Adapter[]][] {
  const groups = new Map<string, Adapter[]>();
  for (const adapter of adapters) {
    groups.set(adapter.base, [...(groups.get(adapter.base) ?? []), adapter]);
  }
  return [...groups]
    .map(([base, all]): [string, Adapter[]] => [base, all.toSorted((a, b) => b.version - a.version)])
    .toSorted(([a], [b]) => a.localeCompare(b));
}
