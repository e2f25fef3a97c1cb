import { expect, it } from "vitest";
import type { TrafficOut } from "../../api/types";
import { bandOf } from "./traffic";

const row = (day: string, model: string, decisions: number, task_type = "code"): TrafficOut => ({
  day,
  model,
  task_type,
  decisions,
  cost_usd: null,
  mean_quality: null,
});
const today = new Date("2026-03-03T10:00:00Z");

it("keeps days without decisions and adds up task types", () => {
  const band = bandOf([row("2026-03-01", "a", 1), row("2026-03-03", "b", 2), row("2026-03-03", "b", 3, "chat")], 3, today, "rest");
  expect(band.names).toEqual(["b", "a"]);
  expect(band.columns).toEqual([
    { day: "2026-03-01", values: { a: 1 } },
    { day: "2026-03-02", values: {} },
    { day: "2026-03-03", values: { b: 5 } },
  ]);
  expect(bandOf([row("2026-03-03", "b", 3, "chat")], 1, today, "rest", "code").names).toEqual([]);
});

it("combines series beyond the number of colours", () => {
  const rows = Array.from({ length: 8 }, (_, index) => row("2026-03-03", `m${index}`, 10 - index));
  const band = bandOf(rows, 1, today, "rest");
  expect(band.names).toEqual(["m0", "m1", "m2", "m3", "m4", "rest"]);
  expect(band.columns[0]?.values.rest).toBe(5 + 4 + 3);
});
