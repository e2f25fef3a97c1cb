import { expect, it } from "vitest";
import type { PeriodOut } from "./queries";
import { callColumns, sums } from "./history";

const period = (calls: number, failures: Record<string, number> = {}, cost_usd: number | null = null) =>
  ({ at: "2026-03-01T00:00:00Z", calls, failures, cost_usd }) as PeriodOut;

it("separates calls that succeeded from failures by reason, the most frequent first", () => {
  const { names, columns } = callColumns([period(5, { slow: 1, down: 2 }), period(0), period(3, { down: 3 })], "ok", "others", (error) => `E ${error}`);
  expect(names).toEqual(["ok", "E down", "E slow"]);
  expect(columns.map(({ values }) => values)).toEqual([{ ok: 2, "E down": 2, "E slow": 1 }, {}, { "E down": 3 }]);
});

it("combines the errors beyond the number of colours", () => {
  const failures = Object.fromEntries(Array.from({ length: 8 }, (_, index) => [`e${index}`, 10 - index]));
  const { names, columns } = callColumns([period(60, failures)], "ok", "others", (error) => error);
  expect(names).toEqual(["ok", "e0", "e1", "e2", "e3", "others"]);
  expect(columns[0]?.values.others).toBe(6 + 5 + 4 + 3);
});

it("keeps an unknown cost unknown", () => {
  expect(sums([period(2, { down: 1 }), period(1)])).toEqual({ calls: 3, failures: 1, cost: null });
  expect(sums([period(2, {}, 0.25), period(1, {}, null)]).cost).toBe(0.25);
});
