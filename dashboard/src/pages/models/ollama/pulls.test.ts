import { describe, expect, it } from "vitest";
import { ended, fullName, shareOf, unfinished } from "./pulls";
import type { PullOut } from "./queries";

let count = 0;

function pull(fields: Partial<PullOut>): PullOut {
  count += 1;
  return {
    id: `00000000-0000-7000-8000-${String(count).padStart(12, "0")}`,
    model: "tiny",
    state: "running",
    phase: "downloading",
    completed: null,
    total: null,
    problem: null,
    started_at: "2026-11-30T12:00:00Z",
    ended_at: null,
    ...fields,
  };
}

describe("shareOf", () => {
  it("is unknown without a total", () => {
    expect(shareOf({ completed: 5, total: null })).toBeNull();
    expect(shareOf({ completed: 0, total: 0 })).toBeNull();
  });
  it("stays between 0 and 1", () => {
    expect(shareOf({ completed: null, total: 10 })).toBe(0);
    expect(shareOf({ completed: 5, total: 10 })).toBe(0.5);
    expect(shareOf({ completed: 50, total: 10 })).toBe(1);
  });
});

describe("fullName", () => {
  it("adds the tag that is meant, and ignores case and ports", () => {
    expect(fullName("Llama3.2")).toBe("llama3.2:latest");
    expect(fullName("llama3.2:3b")).toBe("llama3.2:3b");
    expect(fullName("host:5000/team/model")).toBe("host:5000/team/model:latest");
  });
});

describe("unfinished", () => {
  it("shows the newest failure of a model", () => {
    const [newer, older] = [pull({ state: "interrupted" }), pull({ state: "failed" })];
    expect(unfinished([newer, older])).toEqual([newer]);
  });
  it("hides a failure that a later pull made good, and pulls that somebody cancelled", () => {
    expect(unfinished([pull({ state: "succeeded" }), pull({ state: "failed", model: "tiny:latest" })])).toEqual([]);
    expect(unfinished([pull({}), pull({ state: "failed" })])).toEqual([]);
    expect(unfinished([pull({ state: "cancelled" })])).toEqual([]);
  });
});

describe("ended", () => {
  it("finds the pulls that ran before", () => {
    const running = pull({});
    const done: PullOut = { ...running, state: "succeeded" };
    expect(ended([running], [done])).toEqual([done]);
    expect(ended([running], [running])).toEqual([]);
    expect(ended([], [done])).toEqual([]);
  });
});
