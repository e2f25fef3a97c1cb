import { expect, it } from "vitest";
import type { Overview } from "../../api/contract";
import { approvedShare, midnight, total } from "./figures";

it("does not take a day without verdicts for a bad one", () => {
  expect(approvedShare({ approved: 0, rejected: 0 })).toBeNull();
  expect(approvedShare({ approved: 0, rejected: 2 })).toBe(0);
  expect(approvedShare({ approved: 3, rejected: 1 })).toBe(0.75);
});

it("counts today and the days before", () => {
  const today = { queued: 1, running: 0, succeeded: 2, rejected: 0, failed: 0, dead: 0, cancelled: 0 };
  const days = [{ day: "2026-11-24", approved: 1, rejected: 1, failed: 0, cost_usd: null }];
  expect(total({ today, days } as unknown as Overview)).toBe(5);
});

it("begins the day where the daemon does, at midnight UTC", () => {
  expect(midnight(new Date("2026-11-27T01:30:00+03:00"))).toBe("2026-11-26T00:00:00Z");
});
