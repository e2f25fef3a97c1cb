/**
 * Labels are final once sent, so each is delayed for some seconds in which it can be undone. It is sent earlier when
 * the page, the project or the session is left, or when the same task gets a newer label.
 */
import type { Label } from "../../api/types";
import { Store } from "../../lib/store";

export interface LabelBody {
  label: Label;
  output?: string;
  reason?: string;
}

export interface DelayedLabel {
  task: string;
  body: LabelBody;
}

export const UNDO_MS = 5000;
/** Browsers let 64 KiB of requests outlive their page, in total. */
export const KEEPALIVE_BYTES = 60_000;

export type Send = (held: DelayedLabel, keepalive: boolean) => Promise<void>;

export class LabelQueue extends Store<readonly DelayedLabel[]> {
  readonly #timers = new Map<DelayedLabel, ReturnType<typeof setTimeout>>();

  constructor(private readonly send: Send) {
    super([]);
  }

  /**
   * Delays a label. Returns a function that undoes it; null when it was sent at once, because it was too large to
   * outlive the page.
   */
  delay(task: string, body: LabelBody): (() => void) | null {
    // The newest label counts, and it replaces the older one before anyone sees that.
    for (const older of this.state.filter((one) => one.task === task)) this.#drop(older);
    const held = { task, body };
    const size = sizeOf(held);
    if (size > KEEPALIVE_BYTES) {
      void this.send(held, false);
      return null;
    }
    if (this.state.reduce((sum, one) => sum + sizeOf(one), size) > KEEPALIVE_BYTES) void this.flush();
    this.#timers.set(held, setTimeout(() => void this.#go(held, false), UNDO_MS));
    this.set([...this.state, held]);
    return () => this.#drop(held);
  }

  /** Sends all delayed labels now. */
  async flush(keepalive = false): Promise<void> {
    await Promise.all(this.state.map((held) => this.#go(held, keepalive)));
  }

  async #go(held: DelayedLabel, keepalive: boolean): Promise<void> {
    if (this.#drop(held)) await this.send(held, keepalive);
  }

  #drop(held: DelayedLabel): boolean {
    const timer = this.#timers.get(held);
    if (timer === undefined) return false;
    clearTimeout(timer);
    this.#timers.delete(held);
    this.set(this.state.filter((one) => one !== held));
    return true;
  }
}

function sizeOf({ body }: DelayedLabel): number {
  return new TextEncoder().encode(JSON.stringify(body)).length;
}
