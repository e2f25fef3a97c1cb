import { describe, expect, it } from "vitest";
import type { EventKind, ListedTaskOut, TaskDetail } from "../api/types";
import type { TaskFilters } from "../api/queries";
import { FrameBatch, type Clock } from "./batch";
import { DeltaStore } from "./deltas";
import type { LiveEvent } from "./messages";
import { latest, reduceDetail, reducePages, type TaskPages } from "./reduce";

const task = (id: string, change: Partial<ListedTaskOut> = {}): ListedTaskOut => ({
  id,
  state: "queued",
  prompt: `prompt of ${id}`,
  agent: "ExecutionAgent",
  task_type: null,
  lane: "interactive",
  priority: 0,
  model: null,
  output: null,
  error: null,
  attempts: 0,
  max_attempts: 3,
  cancel_requested: false,
  created_at: "2026-01-02T00:00:00Z",
  not_before: "2026-01-02T00:00:00Z",
  started_at: null,
  finished_at: null,
  cost_usd: null,
  ...change,
});
const pages = (...ids: string[]): TaskPages => ({ pages: [{ items: ids.map((id) => task(id)), next: null }], pageParams: [null] });
const event = (id: number, live: ListedTaskOut, kind: EventKind = live.state): LiveEvent => ({
  type: "event",
  cursor: String(id),
  id,
  task_id: live.id,
  attempt: 1,
  kind,
  data: {},
  at: "2026-01-02T00:00:00Z",
  task: live,
});

describe("reducePages", () => {
  it("adds tasks that ended in the requested period, and none to lists filtered by label", () => {
    const ended = (at: string | null) => latest([event(1, task("n", { state: "failed", finished_at: at }))]);
    const shown = (filters: TaskFilters, at: string | null) => reducePages(pages(), filters, ended(at)).pages[0]!.items.length;
    const since = { ended_since: "2026-01-02T00:00:00Z" };
    expect(shown(since, "2026-01-02T00:00:00+00:00")).toBe(1);
    expect(shown(since, "2026-01-01T23:59:59Z")).toBe(0);
    expect(shown(since, null)).toBe(0);
    expect(shown({ labelled: "false" }, "2026-01-02T00:00:00Z")).toBe(0);
  });

  it("updates rows in place with the last event of a task", () => {
    const events = [event(1, task("b", { state: "running" })), event(2, task("b", { state: "succeeded" }))];
    const before = pages("a", "b");
    const after = reducePages(before, {}, latest(events));
    expect(after.pages[0]!.items.map((one) => one.state)).toEqual(["queued", "succeeded"]);
    expect(after.pages[0]!.items[0]).toBe(before.pages[0]!.items[0]);
  });

  it("adds new tasks on top, except those that the filter excludes", () => {
    const tasks = latest([event(1, task("n")), event(2, task("x", { state: "failed" })), event(3, task("a", { state: "running" }))]);
    const after = reducePages(pages("a", "b"), { state: ["queued"] }, tasks);
    expect(after.pages[0]!.items.map((one) => one.id)).toEqual(["n", "b"]);
    expect(after.pages[0]!.items[0]!.prompt).toBe("prompt of n");
  });

  it("adds nothing to a text search and nothing older than the loaded pages", () => {
    const tasks = latest([event(1, task("n"))]);
    const same = pages("a");
    expect(reducePages(same, { q: "text" }, tasks)).toBe(same);
    const partial: TaskPages = { ...same, pages: [{ items: [task("a")], next: "a" }] };
    expect(reducePages(partial, {}, latest([event(1, task("old", { created_at: "2026-01-01T00:00:00Z" }))]))).toBe(partial);
  });
});

describe("reduceDetail", () => {
  it("appends each event once", () => {
    const detail = { ...task("a"), events: [], verdicts: [], decisions: [], checks: {} } as unknown as TaskDetail;
    const events = [event(1, task("a", { state: "running" })), event(2, task("b"))];
    const once = reduceDetail(detail, events);
    expect(reduceDetail(once, events).events).toHaveLength(1);
    expect(once.state).toBe("running");
  });
});

describe("FrameBatch", () => {
  it("delivers once per frame and pauses after a slow one", () => {
    let now = 0;
    const frames: (() => void)[] = [];
    const waits: number[] = [];
    const clock: Clock = { now: () => now, frame: (run) => frames.push(run), later: (_run, ms) => waits.push(ms) };
    const seen: number[][] = [];
    const batch = new FrameBatch<number>((items) => {
      seen.push(items);
      now += 80;
    }, clock);
    for (let i = 0; i < 1000; i += 1) batch.push(i);
    expect(frames).toHaveLength(1);
    frames.shift()!();
    expect(seen).toHaveLength(1);
    expect(seen[0]).toHaveLength(1000);
    frames.shift()!();
    batch.push(1);
    expect(waits).toEqual([80]);
  });
});

describe("DeltaStore", () => {
  it("separates drafts and discards an ended task that no page shows", () => {
    const store = new DeltaStore();
    const piece = (draft: number, text: string, offset = 0) => ({ type: "delta", task_id: "a", attempt: 1, draft, offset, text }) as const;
    store.append([piece(1, "on"), piece(1, "e", 2), piece(2, "two")]);
    expect(store.of("a").map((one) => one.text)).toEqual(["one", "two"]);
    const leave = store.subscribe("a", () => undefined);
    store.ended("a");
    expect(store.of("a")).toHaveLength(2);
    leave();
    store.ended("a");
    expect(store.of("a")).toHaveLength(0);
  });

  it("starts over at offset 0 and counts missing characters", () => {
    const store = new DeltaStore();
    const piece = (offset: number, text: string) =>
      ({ type: "delta", task_id: "a", attempt: 1, draft: 1, offset, text }) as const;
    store.append([piece(10, "late"), piece(14, "r")]);
    expect(store.of("a")).toEqual([{ attempt: 1, draft: 1, text: "later", missing: 10 }]);
    store.append([piece(0, "again")]);
    expect(store.of("a")).toEqual([{ attempt: 1, draft: 1, text: "again", missing: 0 }]);
  });
});
