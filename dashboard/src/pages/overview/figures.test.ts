import { expect, it } from "vitest";
import type { Overview } from "../../api/types";
import { approvedShare, midnight, total } from "./figures";

it("does not report a day without verdicts as zero", () => {
  expect(approvedShare({ approved: 0, rejected: 0 })).toBeNull();
  expect(approvedShare({ approved: 0, rejected: 2 })).toBe(0);
  expect(approvedShare({ approved: 3, rejected: 1 })).toBe(0.75);
});

it("counts today and earlier days", () => {
  const today = { queued: 1, running: 0, succeeded: 2, rejected: 0, failed: 0, dead: 0, cancelled: 0 };
  const days = [{ day: "2026-11-24", approved: 1, rejected: 1, failed: 0, cost_usd: null }];
  expect(total({ today, days } as unknown as Overview)).toBe(5);
});

it("starts the day at midnight UTC, as the daemon does", () => {
  expect(midnight(new Date("2026-11-27T01:30:00+03:00"))).toBe("2026-11-26T00:00:00Z");
});
