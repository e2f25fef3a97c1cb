import { expect, it } from "vitest";
import type { SampleOut } from "../../../api/types";
import { Problem } from "../../../api/problem";
import { LabelSession, approvalBlocker, type Change, type LabelApi } from "./labelSession";

/** A small model of the daemon's rules: oldest first, versions, one change kept for undo. */
class Rows implements LabelApi {
  rows: SampleOut[];
  before = new Map<string, SampleOut>();
  requested: (readonly string[])[] = [];
  changes = 0;

  constructor(...ids: string[]) {
    this.rows = ids.map((id) => ({ ...EMPTY, id }));
  }

  async next(skipped: readonly string[]) {
    this.requested.push(skipped);
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

async function sessionWith(...ids: string[]) {
  const rows = new Rows(...ids);
  const session = new LabelSession(rows);
  await session.next();
  return { rows, session, at: () => session.state.row?.id ?? null };
}

it("proceeds from sample to sample until none is left", async () => {
  const { rows, session, at } = await sessionWith("a", "b");
  await session.decide({ corrected_output: "right", state: "approved" });
  expect([rows.state("a"), at()]).toEqual(["approved", "b"]);
  await session.decide({ state: "rejected" });
  expect([rows.state("b"), at(), session.state.phase]).toEqual(["rejected", null, "empty"]);
});

it("shows the decision while it is saved and ignores further ones", async () => {
  const { rows, session } = await sessionWith("a", "b");
  const first = session.decide({ state: "rejected" });
  expect([session.state.pending, session.state.row?.id]).toEqual(["rejected", "a"]);
  await session.decide({ state: "rejected" });
  await first;
  expect([rows.changes, session.state.row?.id, rows.state("b")]).toEqual([1, "b", "open"]);
});

it("stays on a sample that was corrected only", async () => {
  const { session, at } = await sessionWith("a", "b");
  await session.decide({ corrected_output: "right" });
  expect([at(), session.state.row?.state, session.state.phase]).toEqual(["a", "corrected", "ready"]);
});

it("undoes the newest decision of each sample in turn", async () => {
  const { rows, session, at } = await sessionWith("a", "b", "c");
  await session.decide({ corrected_output: "right" });
  await session.decide({ state: "approved" });
  await session.decide({ state: "rejected" });
  await session.undo();
  expect([at(), rows.state("b")]).toEqual(["b", "open"]);
  await session.undo();
  expect([at(), rows.state("a")]).toEqual(["a", "corrected"]);
  expect(session.state.steps).toHaveLength(0);
});

it("omits skipped samples until they are requested again", async () => {
  const { rows, session, at } = await sessionWith("a", "b");
  await session.skip();
  expect(at()).toBe("b");
  await session.skip();
  expect([session.state.phase, rows.requested.at(-1)]).toEqual(["empty", ["a", "b"]]);
  await session.undo();
  expect([at(), session.state.skipped]).toEqual(["b", ["a"]]);
  await session.again();
  expect(at()).toBe("a");
});

it("shows the current sample after a conflict and saves nothing", async () => {
  const { rows, session } = await sessionWith("a");
  rows.put({ ...(await rows.get("a")), reason: "changed" });
  await session.decide({ state: "rejected" });
  expect([rows.state("a"), session.state.conflict, session.state.row?.reason, session.state.phase]).toEqual(["open", true, "changed", "ready"]);
  await session.decide({ state: "rejected" });
  expect([rows.state("a"), session.state.conflict]).toEqual(["rejected", false]);
});

it("drops a decision that cannot be undone and keeps one whose undo was not delivered", async () => {
  const { rows, session } = await sessionWith("a", "b");
  await session.decide({ state: "rejected" });
  const undo = rows.undo.bind(rows);
  rows.undo = async () => Promise.reject(new TypeError("no network"));
  await session.undo();
  expect([session.state.steps.length, session.state.problem?.code]).toEqual([1, "unreachable"]);
  rows.undo = undo;
  rows.before.clear();
  await session.undo();
  expect([session.state.steps.length, session.state.problem?.status]).toEqual([0, 409]);
});

it("returns the reason that blocks an approval", () => {
  expect(approvalBlocker(EMPTY)).toBe("uncorrected");
  const corrected = { ...EMPTY, corrected_output: "right", secrets: [{ kind: "a key", where: "prompt 1" }] };
  expect(approvalBlocker(corrected)).toBe("secrets");
  expect(approvalBlocker({ ...corrected, cleared: true })).toBeNull();
});
