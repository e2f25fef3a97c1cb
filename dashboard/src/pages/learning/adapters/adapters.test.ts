import { expect, it } from "vitest";
import type { Adapter, Pair } from "../../../api/learning";
import { actionsOf, byBase } from "./actions";
import { counts, sorted } from "./pairs";

const pair = (id: string, base: number, candidate: number) =>
  ({ id, base_quality: base, candidate_quality: candidate }) as Pair;
const PAIRS = [
  pair("better", 0.2, 0.5),
  pair("best", 0, 1),
  pair("same", 0.5, 0.5 + 1e-9),
  pair("worst", 1, 0),
  pair("worse", 0.5, 0.4),
];

it("sorts worse pairs first, the worst at the top", () => {
  expect(sorted(PAIRS).map(({ id }) => id)).toEqual(["worst", "worse", "best", "better", "same"]);
  expect(counts(PAIRS)).toEqual({ worse: 2, better: 2, same: 1 });
});

const adapter = (base: string, version: number, state: Adapter["state"]) => ({ base, version, state }) as Adapter;

it("groups adapters by base model, newest first", () => {
  const all = [adapter("b", 1, "live"), adapter("a", 1, "retired"), adapter("a", 2, "live")];
  expect(byBase(all).map(([base, list]) => [base, list.map(({ version }) => version)])).toEqual([
    ["a", [2, 1]],
    ["b", [1]],
  ]);
});

it.each([
  ["candidate", ["refuse", "delete"]],
  ["needs_approval", ["promote", "refuse", "delete"]],
  ["canary", ["promote", "roll_back"]],
  ["live", ["roll_back"]],
  ["retired", ["promote", "delete"]],
  ["refused", ["delete"]],
  ["deleted", []],
] as const)("offers with one that is %s what the daemon allows: %s", (state, acts) => {
  expect(actionsOf(adapter("a", 2, state), [])).toEqual(acts);
});

it("does not permit a rollback of the live adapter beside a canary", () => {
  const live = adapter("a", 1, "live");
  const canary = adapter("a", 2, "canary");
  expect(actionsOf(live, [live, canary])).toEqual([]);
  expect(actionsOf(canary, [live, canary])).toEqual(["promote", "roll_back"]);
  expect(actionsOf(live, [live, adapter("b", 1, "canary"), adapter("a", 2, "retired")])).toEqual(["roll_back"]);
  expect(actionsOf(live, undefined)).toEqual([]);
});
