import type { Adapter, AdapterState } from "../../../api/learning";

export type Act = "promote" | "refuse" | "roll_back" | "delete";

const ACTS: Record<AdapterState, readonly Act[]> = {
  candidate: ["promote", "refuse"],
  needs_approval: ["promote", "refuse"],
  canary: ["promote", "refuse"],
  live: ["roll_back"],
  retired: ["delete"],
  refused: ["delete"],
  deleted: [],
};

/** What may be done with an adapter. One that the gate has not measured yet is nobody's to promote. */
export function actsOf({ state, ruling }: Pick<Adapter, "state" | "ruling">): readonly Act[] {
  return state === "candidate" && ruling === null ? [] : ACTS[state];
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
