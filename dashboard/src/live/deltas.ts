/** Running answers, by task, attempt and draft. Drafts are held here only, until the verdict. */
import { useSyncExternalStore } from "react";
import type { LiveDelta } from "./messages";

export interface Draft {
  attempt: number;
  draft: number;
  text: string;
  /** Characters before or within `text` that were not received: the page was opened later, or a message was lost. */
  missing: number;
}

const NONE: readonly Draft[] = [];
const MAX_TASKS = 2000;
const MAX_CHARACTERS = 400_000;

export class DeltaStore {
  readonly #drafts = new Map<string, readonly Draft[]>();
  readonly #listeners = new Map<string, Set<() => void>>();

  append(deltas: readonly LiveDelta[]): void {
    const byTask = new Map<string, LiveDelta[]>();
    for (const delta of deltas) {
      const list = byTask.get(delta.task_id);
      if (list) list.push(delta);
      else byTask.set(delta.task_id, [delta]);
    }
    for (const [task, list] of byTask) {
      const drafts = added(this.#drafts.get(task) ?? NONE, list);
      this.#drafts.delete(task);
      this.#drafts.set(task, drafts);
      this.#notify(task);
    }
    this.#trim();
  }

  /** Oldest first; the last one is in progress. */
  of(task: string): readonly Draft[] {
    return this.#drafts.get(task) ?? NONE;
  }

  /**
   * When a task has ended, its stored verdicts contain the answers. A page that shows the task keeps its drafts for a
   * while.
   */
  ended(task: string): void {
    if (!this.#listeners.has(task)) this.#drafts.delete(task);
  }

  clear(): void {
    const tasks = [...this.#drafts.keys()];
    this.#drafts.clear();
    for (const task of tasks) this.#notify(task);
  }

  subscribe(task: string, listener: () => void): () => void {
    const set = this.#listeners.get(task) ?? new Set();
    this.#listeners.set(task, set.add(listener));
    return () => {
      set.delete(listener);
      if (set.size === 0) this.#listeners.delete(task);
    };
  }

  #notify(task: string): void {
    for (const listener of this.#listeners.get(task) ?? []) listener();
  }

  #trim(): void {
    for (const task of this.#drafts.keys()) {
      if (this.#drafts.size <= MAX_TASKS) return;
      if (!this.#listeners.has(task)) this.#drafts.delete(task);
    }
  }
}

function added(drafts: readonly Draft[], deltas: readonly LiveDelta[]): readonly Draft[] {
  const next = [...drafts];
  for (const { attempt, draft, text, offset } of deltas) {
    const at = next.findIndex((one) => one.attempt === attempt && one.draft === draft);
    const before = (at < 0 || offset === 0 ? undefined : next[at]) ?? { text: "", missing: 0 };
    const missing = Math.max(0, offset - before.text.length);
    const grown = { attempt, draft, text: before.text + text, missing };
    // Text cut off for its length counts as missing, so that the offset of the next message still matches.
    const over = Math.max(0, grown.text.length - MAX_CHARACTERS);
    if (over > 0) Object.assign(grown, { text: grown.text.slice(over), missing: missing + over });
    if (at < 0) next.push(grown);
    else next[at] = grown;
  }
  return next;
}

export const deltas = new DeltaStore();

/** The drafts of a task while they are generated. */
export function useDrafts(task: string): readonly Draft[] {
  return useSyncExternalStore(
    (listener) => deltas.subscribe(task, listener),
    () => deltas.of(task),
  );
}
