/**
 * Labels one sample after another. A decision is shown at once and then saved; the next sample follows. The last
 * decisions can be undone, the newest one of each sample, because the daemon keeps one.
 */
import type { SampleOut, SampleState } from "../../../api/types";
import { toProblem, type Problem } from "../../../api/problem";
import { Store } from "../../../lib/store";

export interface Change {
  state?: SampleState;
  corrected_output?: string;
}

export interface LabelApi {
  /** The next sample to label, except `skipped`; null when there is none. */
  next(skipped: readonly string[]): Promise<SampleOut | null>;
  get(id: string): Promise<SampleOut>;
  change(row: SampleOut, change: Change): Promise<SampleOut>;
  clear(row: SampleOut): Promise<SampleOut>;
  undo(id: string): Promise<SampleOut>;
}

export interface Step {
  row: SampleOut;
  what: SampleState | "skipped";
}

export interface LabelSessionState {
  phase: "loading" | "ready" | "writing" | "empty" | "failed";
  row: SampleOut | null;
  /** The decision on the sample while it is being saved. */
  pending: Step["what"] | null;
  /** Decisions that can be undone, newest last. */
  steps: readonly Step[];
  /** Skipped in this session; shown again at its end. */
  skipped: readonly string[];
  problem: Problem | null;
  /** Someone else changed the sample after it was shown. */
  conflict: boolean;
}

const INITIAL: LabelSessionState = {
  phase: "loading",
  row: null,
  pending: null,
  steps: [],
  skipped: [],
  problem: null,
  conflict: false,
};

/** The maximum number of ids that the daemon accepts. */
export const MAX_SKIPPED = 100;
const WAITING: readonly SampleState[] = ["open", "corrected"];

export class LabelSession extends Store<LabelSessionState> {
  #started = false;

  constructor(private readonly api: LabelApi) {
    super(INITIAL);
  }

  /** Starts once; later calls do nothing. */
  start(): void {
    if (this.#started) return;
    this.#started = true;
    void this.next();
  }

  async next(): Promise<void> {
    this.#patch({ phase: "loading", pending: null, problem: null, conflict: false });
    try {
      const row = await this.api.next(this.state.skipped);
      this.#patch({ phase: row ? "ready" : "empty", row });
    } catch (error) {
      this.#patch({ phase: "failed", row: null, problem: toProblem(error) });
    }
  }

  /** Does nothing while another decision is being saved, because the next sample has not been seen yet. */
  async decide(change: Change): Promise<void> {
    const { row, phase } = this.state;
    if (!row || phase !== "ready") return;
    const what = change.state ?? "corrected";
    this.#patch({ phase: "writing", pending: what, problem: null, conflict: false });
    try {
      const written = await this.api.change(row, change);
      this.#did({ row: written, what });
      if (WAITING.includes(written.state)) this.#patch({ phase: "ready", row: written, pending: null });
      else await this.next();
    } catch (error) {
      await this.#refused(row, toProblem(error));
    }
  }

  async skip(): Promise<void> {
    const { row, phase, skipped } = this.state;
    if (!row || phase !== "ready") return;
    this.#did({ row, what: "skipped" });
    this.#patch({ skipped: [...skipped, row.id].slice(-MAX_SKIPPED) });
    await this.next();
  }

  /** Returns to the skipped samples. */
  async again(): Promise<void> {
    this.#patch({ skipped: [] });
    await this.next();
  }

  /** Records that the possible secret is not one. This cannot be undone. */
  async clear(): Promise<void> {
    const { row } = this.state;
    if (!row) return;
    try {
      this.#patch({ row: await this.api.clear(row), problem: null });
    } catch (error) {
      await this.#refused(row, toProblem(error));
    }
  }

  async undo(): Promise<void> {
    const { steps, phase, skipped } = this.state;
    const last = steps.at(-1);
    if (!last || phase === "writing" || phase === "loading") return;
    this.#patch({ phase: "writing", pending: null, problem: null, conflict: false });
    try {
      const id = last.row.id;
      const row = await (last.what === "skipped" ? this.api.get(id) : this.api.undo(id));
      this.#patch({ phase: "ready", row, steps: steps.slice(0, -1), skipped: skipped.filter((one) => one !== id) });
    } catch (error) {
      const problem = toProblem(error);
      // Refused permanently, so it must not block earlier decisions from being undone.
      const gone = problem.status === 404 || problem.status === 409;
      this.#patch({ phase: this.state.row ? "ready" : "empty", problem, steps: gone ? steps.slice(0, -1) : steps });
    }
  }

  async #refused(row: SampleOut, problem: Problem): Promise<void> {
    this.#patch({ phase: "ready", pending: null, problem });
    if (problem.code !== "row_changed") return;
    try {
      this.#patch({ row: await this.api.get(row.id), conflict: true, problem: null });
    } catch {
      // Only the error is shown; the sample stays as it was.
    }
  }

  #did(step: Step): void {
    this.#patch({ steps: [...this.state.steps.filter((one) => one.row.id !== step.row.id), step] });
  }

  #patch(part: Partial<LabelSessionState>): void {
    this.set({ ...this.state, ...part });
  }
}

/** The reason why the sample cannot be approved; null when it can. */
export function approvalBlocker(row: SampleOut): "uncorrected" | "secrets" | null {
  if (!row.corrected_output) return "uncorrected";
  return row.secrets.length > 0 && !row.cleared ? "secrets" : null;
}
