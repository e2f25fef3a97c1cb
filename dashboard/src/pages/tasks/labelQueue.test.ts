import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { UNDO_MS, KEEPALIVE_BYTES, LabelQueue, type DelayedLabel } from "./labelQueue";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function setUp() {
  const sent: [DelayedLabel, boolean][] = [];
  const queue = new LabelQueue(async (held, keepalive) => void sent.push([held, keepalive]));
  return { queue, sent, labels: () => sent.map(([held]) => `${held.task} ${held.body.label}`) };
}

it("sends once, after the time to undo", async () => {
  const { queue, labels } = setUp();
  queue.delay("a", { label: "accept" });
  await vi.advanceTimersByTimeAsync(UNDO_MS - 1);
  expect(labels()).toEqual([]);
  expect(queue.state).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  await queue.flush();
  expect(labels()).toEqual(["a accept"]);
  expect(queue.state).toHaveLength(0);
});

it("does not send a label that was undone", async () => {
  const { queue, labels } = setUp();
  const undo = queue.delay("a", { label: "reject" });
  undo?.();
  await vi.advanceTimersByTimeAsync(UNDO_MS * 2);
  await queue.flush(true);
  expect(labels()).toEqual([]);
});

it("sends the newest label of each task", async () => {
  const { queue, labels } = setUp();
  queue.delay("a", { label: "reject" });
  queue.delay("b", { label: "accept" });
  queue.delay("a", { label: "accept" });
  await vi.advanceTimersByTimeAsync(UNDO_MS);
  expect(labels().sort()).toEqual(["a accept", "b accept"]);
});

it("sends delayed labels with keepalive when the page closes", async () => {
  const { queue, sent } = setUp();
  queue.delay("a", { label: "accept" });
  await queue.flush(true);
  expect(sent.map(([, keepalive]) => keepalive)).toEqual([true]);
});

it("does not delay a label that is too large for keepalive", async () => {
  const { queue, labels } = setUp();
  const half = "x".repeat(KEEPALIVE_BYTES / 2);
  queue.delay("a", { label: "edit", output: half });
  expect(labels()).toEqual([]);
  queue.delay("b", { label: "edit", output: half });
  expect(labels()).toEqual(["a edit"]);
  expect(queue.delay("c", { label: "edit", output: half + half })).toBeNull();
  expect(labels()).toEqual(["a edit", "c edit"]);
});
