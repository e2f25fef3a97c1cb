/**
 * Collects events and passes them on at most once per frame. When rendering takes long, because many rows change, the
 * next batch waits in proportion, so that typing and scrolling keep at least half of the time.
 */
export interface Clock {
  now(): number;
  frame(run: () => void): void;
  later(run: () => void, ms: number): void;
}

export const browserClock: Clock = {
  now: () => performance.now(),
  // A hidden tab gets no frames but must not accumulate events.
  frame: (run) => (document.hidden ? void setTimeout(run, 1000) : void requestAnimationFrame(run)),
  later: (run, ms) => void setTimeout(run, ms),
};

export class FrameBatch<T> {
  #items: T[] = [];
  #scheduled = false;
  #restUntil = 0;

  constructor(
    private readonly flush: (items: T[]) => void,
    private readonly clock: Clock = browserClock,
    private readonly maxItems = 2000,
  ) {}

  push(item: T): void {
    this.#items.push(item);
    this.#schedule();
  }

  clear(): void {
    this.#items = [];
  }

  #schedule(): void {
    if (this.#scheduled || this.#items.length === 0) return;
    this.#scheduled = true;
    const wait = this.#restUntil - this.clock.now();
    if (wait > 1) this.clock.later(() => this.clock.frame(() => this.#run()), wait);
    else this.clock.frame(() => this.#run());
  }

  #run(): void {
    this.#scheduled = false;
    const items = this.#items.slice(0, this.maxItems);
    this.#items = this.#items.slice(this.maxItems);
    if (items.length === 0) return;
    const began = this.clock.now();
    try {
      this.flush(items);
    } finally {
      // The start of the next frame shows how long rendering took.
      this.clock.frame(() => {
        const spent = this.clock.now() - began;
        this.#restUntil = spent > 32 ? this.clock.now() + Math.min(spent, 500) : 0;
        this.#schedule();
      });
    }
  }
}
