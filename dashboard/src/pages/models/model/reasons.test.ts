import { expect, it } from "vitest";
import type { PreviewedScoreOut, TaskTypeRoutingOut } from "./queries";
import { outcomeOf, reasonOf } from "./reasons";

const score = (model: string, values: Partial<PreviewedScoreOut> = {}) =>
  ({ model, mu: 0.5, utility: 0.5, expected_cost: null, expected_latency_s: null, ...values }) as PreviewedScoreOut;

const routing = (values: Partial<TaskTypeRoutingOut>) =>
  ({ task_type: "code", chosen: "b", own: null, rival: null, deciding: null, exclusion: null, ...values }) as TaskTypeRoutingOut;

it("names the values that decide between a model and its rival", () => {
  const lower = { reason: "lower_score", own: score("a", { mu: 0.61 }), rival: score("b", { mu: 0.93 }), deciding: "quality" } as const;
  expect(reasonOf(routing(lower))).toBe("Quality 0.61 against 0.93 of b.");
  const dear = { ...lower, own: score("a", { expected_cost: 0.5 }), rival: score("b", { expected_cost: 0.25 }), deciding: "cost" } as const;
  expect(reasonOf(routing(dear))).toContain("0.50 against");
  expect(reasonOf(routing({ ...dear, own: score("a", { utility: 0.25 }) }))).toBe("Score 0.25 against 0.5 of b.");
});

it("gives the reason of an exclusion", () => {
  const exclusion = { model: "a", reason: "breaker", detail: "", retry_at: null } as const;
  expect(reasonOf(routing({ reason: "excluded", exclusion }))).toBe("circuit breaker open");
  expect(outcomeOf(routing({ reason: "excluded", exclusion }))).toBe("excluded");
});

it("has a sentence for every reason", () => {
  const reasons: TaskTypeRoutingOut["reason"][] = [
    "highest_score",
    "exploration",
    "kept",
    "only_candidate",
    "default_model",
    "last_resort",
    "lower_score",
    "other_kept",
    "other_default",
    "excluded",
  ];
  for (const reason of reasons) {
    const own = reason === "lower_score" ? { own: score("a"), rival: score("b") } : {};
    expect(reasonOf(routing({ reason, ...own })), reason).toMatch(/^[^{}]{10,}$/);
  }
  expect(reasons.filter((reason) => outcomeOf(routing({ reason })) === "chosen")).toHaveLength(6);
});
