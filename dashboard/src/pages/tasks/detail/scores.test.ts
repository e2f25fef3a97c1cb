import { expect, it } from "vitest";
import type { CandidateOut, ModelCallOut } from "../../../api/types";
import { termsOf, totalsOf, weightsOf } from "./scores";

function candidate(model: string, change: Partial<CandidateOut>): CandidateOut {
  const one = { model, n: 0, pending: 0, mu: 0.5, prior: 0.5, prior_share: 1, bonus: 0.1, cost: 0, expected_cost: 0,
    latency: 0, expected_latency_s: null, health: 0, switching: 0, utility: 0, ...change };
  return { ...one, utility: one.mu + one.bonus - 0.15 * one.cost - 0.1 * one.latency - one.health - one.switching };
}

it("derives the weights when two candidates determine them", () => {
  const weights = weightsOf([candidate("a", { cost: 0.8, latency: 0.2 }), candidate("b", { cost: 0.1, latency: 0.9 })]);
  expect(weights?.cost).toBeCloseTo(0.15);
  expect(weights?.latency).toBeCloseTo(0.1);
  expect(weightsOf([candidate("a", { cost: 0.8, latency: 0.2 })])).toBeNull();
});

it("returns terms that add up to the utility, with or without known weights", () => {
  const lone = candidate("a", { cost: 0.8, latency: 0.2, health: 0.05, switching: 0.02 });
  for (const weights of [null, { cost: 0.15, latency: 0.1 }]) {
    const terms = termsOf(lone, weights);
    expect(terms.reduce((sum, term) => sum + term.value, 0)).toBeCloseTo(lone.utility);
  }
  expect(termsOf(lone, null).map((term) => term.name)).toContain("together");
  expect(termsOf(candidate("a", { cost: 0.5 }), null).map((term) => term.name)).toEqual(["quality", "bonus", "cost"]);
});

it("adds up known costs and counts unknown ones", () => {
  const call = (cost_usd: number | null): ModelCallOut =>
    ({ model: "m", success: true, error: null, first_token_s: 0, duration_s: 1, input_tokens: 3, output_tokens: null, cost_usd });
  expect(totalsOf([call(0.5), call(null)])).toEqual({ cost: 0.5, input: 6, output: null, unknown: 1 });
  expect(totalsOf([])).toEqual({ cost: null, input: null, output: null, unknown: 0 });
});
