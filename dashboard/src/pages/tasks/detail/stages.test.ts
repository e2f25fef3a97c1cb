import { expect, it } from "vitest";
import type { EventKind, EventOut } from "../../../api/types";
import { translate } from "../../../i18n/i18n";
import { stageOf, stagesOf } from "./stages";

let id = 0;
const event = (kind: EventKind, data: Record<string, unknown> = {}, at = "2026-01-01T00:00:00Z"): EventOut => ({
  id: (id += 1),
  attempt: 1,
  kind,
  data: data as EventOut["data"],
  at,
});
const title = (kind: EventKind, data?: Record<string, unknown>) => {
  const { key, values } = stageOf(event(kind, data));
  return translate(key, values);
};

it("describes each event", () => {
  expect(title("queued", { agent: "ExecutionAgent", lane: "interactive" })).toBe("Queued for ExecutionAgent");
  expect(title("decision", { chosen: "small" })).toBe("The router chose small");
  expect(title("decision", { chosen: null })).toBe("The router found no candidate");
  expect(title("attempt_rejected", { draft: 2 })).toBe("Draft 2 rejected");
  expect(title("verdict", { draft: 1, approved: true })).toBe("Draft 1 approved");
  expect(title("verdict", { draft: 1, approved: false })).toBe("Draft 1 rejected");
  expect(title("labelled", { label: "edit" })).toBe("A member corrected the answer");
});

it("distinguishes the three ways into the queue", () => {
  expect(title("queued", { retry: "by hand" })).toBe("Queued again by a user");
  expect(title("queued", { error: { message: "away" }, retry_in_s: 0.4 })).toBe("Queued again, retry in 1 second");
  expect(stageOf(event("queued", { error: { code: "drained", message: "The daemon stops" } })).note).toBe("The daemon stops");
});

it("shows an unknown kind by its name", () => {
  expect(title("memory_used" as EventKind, {})).toBe("memory_used");
});

it("measures the time since the previous stage", () => {
  const stages = stagesOf([event("queued"), event("running", {}, "2026-01-01T00:00:01.500Z")]);
  expect(stages.map((stage) => stage.after)).toEqual([null, 1.5]);
});
