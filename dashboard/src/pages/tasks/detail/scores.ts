/** The stored terms of a candidate's score, and how they add up to its utility. */
import type { CandidateOut, ModelCallOut } from "../../../api/types";

export type Term = "quality" | "bonus" | "cost" | "latency" | "health" | "switching" | "together";
export const TERMS: Term[] = ["quality", "bonus", "cost", "latency", "health", "switching", "together"];

const NOTHING = 1e-9;

interface Weights {
  cost: number;
  latency: number;
}

/**
 * A decision stores cost and latency before weighting, and the weights are settings that may have changed since. Two
 * candidates whose terms are not in proportion determine the weights exactly; otherwise they stay unknown.
 */
export function weightsOf(candidates: readonly CandidateOut[]): Weights | null {
  let found: (Weights & { det: number }) | null = null;
  candidates.forEach((one, index) => {
    for (const two of candidates.slice(index + 1)) {
      const det = one.cost * two.latency - two.cost * one.latency;
      if (Math.abs(det) <= Math.abs(found?.det ?? 1e-6)) continue;
      const cost = (rest(one) * two.latency - rest(two) * one.latency) / det;
      const latency = (one.cost * rest(two) - two.cost * rest(one)) / det;
      found = { cost, latency, det };
    }
  });
  return found;
}

/** The utility lost to cost and latency together. */
function rest(one: CandidateOut): number {
  return one.mu + one.bonus - one.health - one.switching - one.utility;
}

/** Terms added to and subtracted from a candidate; their sum is its utility. Zero terms are omitted. */
export function termsOf(one: CandidateOut, weights: Weights | null): { name: Term; value: number }[] {
  const lost = rest(one);
  let split: [Term, number][];
  if (weights) split = [["cost", -weights.cost * one.cost], ["latency", -weights.latency * one.latency]];
  else if (one.cost < NOTHING) split = [["latency", -lost]];
  else if (one.latency < NOTHING) split = [["cost", -lost]];
  else split = [["together", -lost]];
  const all: [Term, number][] = [
    ["quality", one.mu],
    ["bonus", one.bonus],
    ...split,
    ["health", -one.health],
    ["switching", -one.switching],
  ];
  return all.filter(([, value]) => Math.abs(value) > NOTHING).map(([name, value]) => ({ name, value }));
}

export interface Totals {
  cost: number | null;
  input: number | null;
  output: number | null;
  /** Calls of unknown cost; the sum is then partial. */
  unknown: number;
}

export function totalsOf(calls: readonly ModelCallOut[]): Totals {
  const sum = (values: (number | null)[]) => {
    const known = values.filter((value) => value !== null);
    return known.length > 0 ? known.reduce((total, value) => total + value, 0) : null;
  };
  return {
    cost: sum(calls.map((call) => call.cost_usd)),
    input: sum(calls.map((call) => call.input_tokens)),
    output: sum(calls.map((call) => call.output_tokens)),
    unknown: calls.filter((call) => call.cost_usd === null).length,
  };
}
