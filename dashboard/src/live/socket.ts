/**
 * A connection to /api/events: obtains a ticket, opens the stream, and after a loss resumes it from the last cursor.
 */
import { CLOSE, type LiveMessage } from "./messages";

export type LiveState = "connecting" | "connected" | "reconnecting" | "offline";

export type SocketLike = Pick<WebSocket, "onmessage" | "onclose" | "close">;

export interface LiveOptions {
  ticket(): Promise<string>;
  open(ticket: string, after: string): SocketLike;
  onMessage(message: LiveMessage): void;
  onState(state: LiveState): void;
  /** The session has ended, or the user is no longer a member. No reconnection follows. */
  onRefused(code: number): void;
  /**
   * Events may be missing: on the first connection, or after an interruption longer than the daemon's event history.
   */
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

  /** Reconnects at once, because the network is back or the user requests it. */
  reconnectNow(): void {
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
    // A resumed stream first replays the missed events, from the requested cursor.
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
    // Half of the delay is random, so that tabs do not reconnect all at once to a restarted daemon.
    const wait = ceiling / 2 + (ceiling / 2) * (this.options.random ?? Math.random)();
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => void this.#connect(), wait);
  }

  #listenForSilence(): void {
    clearTimeout(this.#quiet);
    // The daemon pings every 20 s; this timer detects a connection that was lost without being closed.
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
