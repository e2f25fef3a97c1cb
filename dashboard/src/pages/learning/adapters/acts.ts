import type { Adapter, AdapterState } from "../../../api/learning";

export type Act = "promote" | "refuse" | "roll_back" | "delete";

const ACTS: Record<AdapterState, readonly Act[]> = {
  candidate: ["refuse", "delete"],
  needs_approval: ["promote", "refuse", "delete"],
  canary: ["promote", "roll_back"],
  live: ["roll_back"],
  retired: ["promote", "delete"],
  refused: ["delete"],
  deleted: [],
};

/** What may be done with an adapter, as the API allows it: what the gate has not measured yet is nobody's to promote. */
export function actsOf({ state }: Pick<Adapter, "state">): readonly Act[] {
  return ACTS[state];
}

/** By base, in the order of their names; of each base the newest first. What was deleted is left out. */
export function byBase(adapters: readonly Adapter[]): [string, Adapter[]][] {
  const groups = new Map<string, Adapter[]>();
  for (const adapter of adapters) {
    if (adapter.state !== "deleted") groups.set(adapter.base, [...(groups.get(adapter.base) ?? []), adapter]);
  }
  return [...groups]
    .map(([base, all]): [string, Adapter[]] => [base, all.toSorted((a, b) => b.version - a.version)])
    .toSorted(([a], [b]) => a.localeCompare(b));
}
