import type { Pair } from "../../../api/learning";

export type Change = "worse" | "better" | "same";

export const CHANGES: readonly Change[] = ["worse", "better", "same"];

/** Qualities are sums of checks, so smaller differences are due to rounding. */
const ROUNDING = 1e-6;

export function changeOf({ base_quality, candidate_quality }: Pair): Change {
  const difference = candidate_quality - base_quality;
  if (Math.abs(difference) < ROUNDING) return "same";
  return difference < 0 ? "worse" : "better";
}

/** Worst first: a person should see these before promoting. */
export function sorted(pairs: readonly Pair[]): Pair[] {
  const gain = (pair: Pair) => pair.candidate_quality - pair.base_quality;
  const rank = (pair: Pair) => CHANGES.indexOf(changeOf(pair));
  return pairs.toSorted((a, b) => {
    const change = rank(a) - rank(b);
    if (change !== 0) return change;
    return changeOf(a) === "better" ? gain(b) - gain(a) : gain(a) - gain(b);
  });
}

export function counts(pairs: readonly Pair[]): Record<Change, number> {
  const found: Record<Change, number> = { worse: 0, better: 0, same: 0 };
  for (const pair of pairs) found[changeOf(pair)] += 1;
  return found;
}
