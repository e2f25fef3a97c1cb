/** One connection to /api/events: a ticket, the stream, and after a loss the stream again from the last cursor. */
import { CLOSE, type LiveMessage } from "./messages";

export type LiveState = "connecting" | "connected" | "reconnecting" | "offline";

export type SocketLike = Pick<WebSocket, "onmessage" | "onclose" | "close">;

export interface LiveOptions {
  ticket(): Promise<string>;
  open(ticket: string, after: string): SocketLike;
  onMessage(message: LiveMessage): void;
  onState(state: LiveState): void;
  /** The session has ended, or its user is no member any more; nothing is tried again. */
  onRefused(code: number): void;
  /** Events may be missing: the first connection, or one after so long that the daemon may have forgotten some. */
  onGap(): void;
  random?: () => number;
  online?: () => boolean;
}

const FIRST_MS = 500;
const LONGEST_MS = 30_000;
const QUIET_MS = 45_000;
const LONG_LOSS_MS = 10 * 60_000;

export class LiveSocket {
  #socket: SocketLike | null = null;
  #cursor = "";
  #tries = 0;
  #stopped = true;
  #generation = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #quiet: ReturnType<typeof setTimeout> | undefined;
  #lostAt: number | null = null;

  constructor(private readonly options: LiveOptions) {}

  get cursor(): string {
    return this.#cursor;
  }

  start(): void {
    if (!this.#stopped) return;
    this.#stopped = false;
    this.options.onState("connecting");
    void this.#connect();
  }

  stop(): void {
    this.#stopped = true;
    this.#drop();
  }

  /** The network came back, or the person asked: do not wait for the timer. */
  hurry(): void {
    if (this.#stopped || this.#socket) return;
    this.#tries = 0;
    clearTimeout(this.#retry);
    void this.#connect();
  }

  async #connect(): Promise<void> {
    const generation = ++this.#generation;
    let ticket;
    try {
      ticket = await this.options.ticket();
    } catch {
      if (generation === this.#generation && !this.#stopped) this.#again();
      return;
    }
    if (generation !== this.#generation || this.#stopped) return;
    const socket = this.options.open(ticket, this.#cursor);
    this.#socket = socket;
    this.#listenForSilence();
    socket.onmessage = ({ data }) => {
      if (this.#socket === socket) this.#receive(String(data));
    };
    socket.onclose = ({ code }) => {
      if (this.#socket === socket) this.#closed(code);
    };
  }

  #receive(data: string): void {
    this.#listenForSilence();
    const message = JSON.parse(data) as LiveMessage;
    if (message.type === "hello") this.#greeted(message.cursor);
    else if (message.type === "event") this.#cursor = message.cursor;
    if (message.type !== "ping") this.options.onMessage(message);
  }

  #greeted(cursor: string): void {
    const gap = this.#cursor === "" || (this.#lostAt !== null && Date.now() - this.#lostAt > LONG_LOSS_MS);
    // A resumed stream still sends what was missed, from the cursor that was asked for.
    if (this.#cursor === "") this.#cursor = cursor;
    this.#tries = 0;
    this.#lostAt = null;
    this.options.onState("connected");
    if (gap) this.options.onGap();
  }

  #closed(code: number): void {
    this.#drop();
    if (this.#stopped) return;
    if (code === CLOSE.sessionEnded || code === CLOSE.notMember) {
      this.#stopped = true;
      this.options.onState("offline");
      this.options.onRefused(code);
    } else this.#again();
  }

  #again(): void {
    this.#lostAt ??= Date.now();
    const online = this.options.online?.() ?? true;
    this.options.onState(online && this.#tries < 5 ? "reconnecting" : "offline");
    const ceiling = Math.min(FIRST_MS * 2 ** this.#tries, LONGEST_MS);
    this.#tries += 1;
    // Half of it by chance, so that a restarted daemon is not met by all tabs at once.
    const wait = ceiling / 2 + (ceiling / 2) * (this.options.random ?? Math.random)();
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => void this.#connect(), wait);
  }

  #listenForSilence(): void {
    clearTimeout(this.#quiet);
    // The daemon pings every 20 s; a link that died without a word is noticed here only.
    this.#quiet = setTimeout(() => {
      this.#socket?.close();
      this.#closed(0);
    }, QUIET_MS);
  }

  #drop(): void {
    this.#generation += 1;
    clearTimeout(this.#retry);
    clearTimeout(this.#quiet);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }
}
