import { expect, it } from "vitest";
import type { Adapter, Pair } from "../../../api/learning";
import { actsOf, byBase } from "./acts";
import { counts, sorted } from "./pairs";

const pair = (id: string, base: number | null, candidate: number | null) =>
  ({ id, base_quality: base, candidate_quality: candidate }) as Pair;
const PAIRS = [
  pair("better", 0.2, 0.5),
  pair("best", 0, 1),
  pair("same", 0.5, 0.5 + 1e-9),
  pair("unknown", null, 1),
  pair("worst", 1, 0),
  pair("worse", 0.5, 0.4),
];

it("shows first what became worse, the worst of it above", () => {
  expect(sorted(PAIRS).map(({ id }) => id)).toEqual(["worst", "worse", "best", "better", "same", "unknown"]);
  expect(counts(PAIRS)).toEqual({ worse: 2, better: 2, same: 1, unmeasured: 1 });
});

const adapter = (base: string, version: number, state: Adapter["state"]) => ({ base, version, state }) as Adapter;

it("groups adapters by base, the newest first", () => {
  const all = [adapter("b", 1, "live"), adapter("a", 1, "retired"), adapter("a", 2, "live"), adapter("c", 1, "deleted")];
  expect(byBase(all).map(([base, list]) => [base, list.map(({ version }) => version)])).toEqual([
    ["a", [2, 1]],
    ["b", [1]],
  ]);
});

it("offers no promotion of what was not measured, and no deletion of what serves", () => {
  expect(actsOf(adapter("a", 1, "candidate"))).not.toContain("promote");
  expect(actsOf(adapter("a", 1, "needs_approval"))).toContain("promote");
  expect(actsOf(adapter("a", 1, "retired"))).toEqual(["promote", "delete"]);
  expect(actsOf(adapter("a", 1, "canary"))).toEqual(["promote", "roll_back"]);
  expect(actsOf(adapter("a", 1, "live"))).toEqual(["roll_back"]);
});
