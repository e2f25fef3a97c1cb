import { expect, it } from "vitest";
import type { EventKind, EventOut, TaskDetail, VerdictOut } from "../../../api/types";
import { answerOf, placeFindings } from "./answer";

const event = (kind: EventKind, data: Record<string, unknown> = {}, attempt = 1): EventOut => ({
  id: 1, attempt, kind, data: data as EventOut["data"], at: "2026-01-01T00:00:00Z",
});
const task = (change: Partial<TaskDetail>): TaskDetail =>
  ({ state: "running", attempts: 1, output: null, events: [], verdicts: [], decisions: [], ...change }) as TaskDetail;
const piece = (draft: number, text: string) => ({ attempt: 1, draft, text, missing: 0 });

it("shows the draft in progress and no older ones", () => {
  const events = [event("drafting", { draft: 1 }), event("attempt_rejected", { draft: 1 }), event("drafting", { draft: 2 })];
  expect(answerOf(task({ events }), [piece(1, "old")])).toMatchObject({ kind: "waiting", text: "", draft: 2 });
  expect(answerOf(task({ events }), [piece(1, "old"), piece(2, "new")])).toMatchObject({ kind: "writing", text: "new" });
});

it("marks a rejected draft until the next one begins", () => {
  const findings = [{ check: "python", severity: "error", message: "no", line: 2 }];
  const events = [event("drafting", { draft: 1 }), event("attempt_rejected", { draft: 1, findings })];
  expect(answerOf(task({ events }), [piece(1, "old")])).toMatchObject({ kind: "replaced", text: "old", findings });
});

it("shows nothing of earlier attempts", () => {
  const events = [event("drafting", { draft: 1 }, 1)];
  expect(answerOf(task({ events, attempts: 2 }), [piece(1, "old")]).kind).toBe("waiting");
  expect(answerOf(task({ events, state: "queued" }), [piece(1, "old")]).kind).toBe("waiting");
});

it("places findings on lines only when the verdict refers to the same text", () => {
  const findings = [{ check: "c", severity: "error", message: "m", line: 1 }];
  const verdict = { output: "a", findings } as VerdictOut;
  expect(answerOf(task({ state: "rejected", output: "a", verdicts: [verdict] }), []).findings[0]?.line).toBe(1);
  expect(answerOf(task({ state: "rejected", output: "b", verdicts: [verdict] }), []).findings[0]?.line).toBeUndefined();
  expect(answerOf(task({ state: "dead" }), []).kind).toBe("none");
});

it("assigns findings without a valid line to the whole answer", () => {
  const finding = (line?: number) => ({ check: "c", severity: "error", message: "m", line }) as const;
  const { byLine, whole } = placeFindings([finding(1), finding(1), finding(9), finding()], 3);
  expect(byLine.get(1)).toHaveLength(2);
  expect(whole).toHaveLength(2);
});
