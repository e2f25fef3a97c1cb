import { expect, it } from "vitest";
import type { SampleOut } from "../../../api/contract";
import { Problem } from "../../../api/problem";
import { Desk, hindrance, type Change, type DeskApi } from "./desk";

/** A small model of the daemon's rules: oldest first, versions, one change kept for undo. */
class Rows implements DeskApi {
  rows: SampleOut[];
  before = new Map<string, SampleOut>();
  asked: (readonly string[])[] = [];
  changes = 0;

  constructor(...ids: string[]) {
    this.rows = ids.map((id) => ({ ...EMPTY, id }));
  }

  async next(skipped: readonly string[]) {
    this.asked.push(skipped);
    const waits = ({ id, state }: SampleOut) => (state === "open" || state === "corrected") && !skipped.includes(id);
    return this.rows.find(waits) ?? null;
  }

  async get(id: string) {
    const row = this.rows.find((one) => one.id === id);
    if (!row) throw problem(404, "not_found");
    return row;
  }

  async change(row: SampleOut, change: Change) {
    this.changes += 1;
    const found = await this.get(row.id);
    if (found.version !== row.version) throw problem(409, "row_changed");
    this.before.set(row.id, found);
    return this.put({ ...found, state: change.corrected_output ? "corrected" : found.state, ...change });
  }

  async clear(row: SampleOut) {
    return this.put({ ...(await this.get(row.id)), cleared: true });
  }

  async undo(id: string) {
    const before = this.before.get(id);
    if (!before) throw problem(409, "row_changed");
    this.before.delete(id);
    return this.put({ ...before, version: (await this.get(id)).version });
  }

  put(row: SampleOut) {
    const next = { ...row, version: row.version + 1 };
    this.rows = this.rows.map((one) => (one.id === row.id ? next : one));
    return next;
  }

  state = (id: string) => this.rows.find((one) => one.id === id)?.state;
}

const EMPTY = { version: 1, state: "open", corrected_output: null, secrets: [], cleared: false } as unknown as SampleOut;
const problem = (status: number, code: string) => new Problem({ title: code, status, code, detail: code });

async function sitting(...ids: string[]) {
  const rows = new Rows(...ids);
  const desk = new Desk(rows);
  await desk.next();
  return { rows, desk, at: () => desk.state.row?.id ?? null };
}

it("goes from row to row, and ends where none waits", async () => {
  const { rows, desk, at } = await sitting("a", "b");
  await desk.decide({ corrected_output: "right", state: "approved" });
  expect([rows.state("a"), at()]).toEqual(["approved", "b"]);
  await desk.decide({ state: "rejected" });
  expect([rows.state("b"), at(), desk.state.phase]).toEqual(["rejected", null, "empty"]);
});

it("shows what was decided while it is written, and hears nothing more meanwhile", async () => {
  const { rows, desk } = await sitting("a", "b");
  const first = desk.decide({ state: "rejected" });
  expect([desk.state.given, desk.state.row?.id]).toEqual(["rejected", "a"]);
  await desk.decide({ state: "rejected" });
  await first;
  expect([rows.changes, desk.state.row?.id, rows.state("b")]).toEqual([1, "b", "open"]);
});

it("stays with a row that was corrected only", async () => {
  const { desk, at } = await sitting("a", "b");
  await desk.decide({ corrected_output: "right" });
  expect([at(), desk.state.row?.state, desk.state.phase]).toEqual(["a", "corrected", "ready"]);
});

it("takes back one row's newest step after another", async () => {
  const { rows, desk, at } = await sitting("a", "b", "c");
  await desk.decide({ corrected_output: "right" });
  await desk.decide({ state: "approved" });
  await desk.decide({ state: "rejected" });
  await desk.undo();
  expect([at(), rows.state("b")]).toEqual(["b", "open"]);
  await desk.undo();
  expect([at(), rows.state("a")]).toEqual(["a", "corrected"]);
  expect(desk.state.steps).toHaveLength(0);
});

it("passes over all that were skipped, until they are asked for again", async () => {
  const { rows, desk, at } = await sitting("a", "b");
  await desk.skip();
  expect(at()).toBe("b");
  await desk.skip();
  expect([desk.state.phase, rows.asked.at(-1)]).toEqual(["empty", ["a", "b"]]);
  await desk.undo();
  expect([at(), desk.state.skipped]).toEqual(["b", ["a"]]);
  await desk.again();
  expect(at()).toBe("a");
});

it("shows the row as it is now to somebody who was overtaken, and writes nothing", async () => {
  const { rows, desk } = await sitting("a");
  rows.put({ ...(await rows.get("a")), reason: "changed" });
  await desk.decide({ state: "rejected" });
  expect([rows.state("a"), desk.state.overtaken, desk.state.row?.reason, desk.state.phase]).toEqual(["open", true, "changed", "ready"]);
  await desk.decide({ state: "rejected" });
  expect([rows.state("a"), desk.state.overtaken]).toEqual(["rejected", false]);
});

it("forgets a step that can no longer be undone, and keeps one that did not arrive", async () => {
  const { rows, desk } = await sitting("a", "b");
  await desk.decide({ state: "rejected" });
  const undo = rows.undo.bind(rows);
  rows.undo = async () => Promise.reject(new TypeError("no network"));
  await desk.undo();
  expect([desk.state.steps.length, desk.state.problem?.code]).toEqual([1, "unreachable"]);
  rows.undo = undo;
  rows.before.clear();
  await desk.undo();
  expect([desk.state.steps.length, desk.state.problem?.status]).toEqual([0, 409]);
});

it("knows what stands in the way of an approval", () => {
  expect(hindrance(EMPTY)).toBe("uncorrected");
  const corrected = { ...EMPTY, corrected_output: "right", secrets: [{ kind: "a key", where: "prompt 1" }] };
  expect(hindrance(corrected)).toBe("secrets");
  expect(hindrance({ ...corrected, cleared: true })).toBeNull();
});
