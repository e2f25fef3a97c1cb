import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CLOSE, type LiveMessage } from "./messages";
import { LiveSocket, type LiveState, type SocketLike } from "./socket";

class FakeSocket {
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  closed = false;
  constructor(readonly after: string) {}
  close(): void {
    this.closed = true;
  }
  receive(message: unknown): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
  lose(code = 1006): void {
    this.onclose?.({ code });
  }
}

function setUp() {
  const sockets: FakeSocket[] = [];
  const states: LiveState[] = [];
  const messages: LiveMessage[] = [];
  const onGap = vi.fn();
  const onRefused = vi.fn();
  const ticket = vi.fn(async () => "t");
  const live = new LiveSocket({
    ticket,
    open: (_ticket, after) => {
      const socket = new FakeSocket(after);
      sockets.push(socket);
      return socket as unknown as SocketLike;
    },
    onMessage: (message) => messages.push(message),
    onState: (state) => states.push(state),
    onRefused,
    onGap,
    random: () => 1,
  });
  return { live, sockets, states, messages, onGap, onRefused, ticket };
}

const event = (cursor: string) => ({ type: "event", cursor, id: 1, task_id: "a", task: {} });
const settle = () => vi.advanceTimersByTimeAsync(0);

describe("LiveSocket", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("resumes from the last cursor after a loss", async () => {
    const { live, sockets, states, onGap } = setUp();
    live.start();
    await settle();
    sockets[0]!.receive({ type: "hello", cursor: "5" });
    sockets[0]!.receive(event("7"));
    sockets[0]!.lose();
    expect(states.at(-1)).toBe("reconnecting");
    await vi.advanceTimersByTimeAsync(500);
    expect(sockets[1]!.after).toBe("7");
    sockets[1]!.receive({ type: "hello", cursor: "9" });
    expect(live.cursor).toBe("7");
    expect(states.at(-1)).toBe("connected");
    expect(onGap).toHaveBeenCalledTimes(1);
  });

  it("increases the delay and reports offline in the end", async () => {
    const { live, states, ticket } = setUp();
    ticket.mockRejectedValue(new Error("away"));
    live.start();
    await settle();
    await vi.advanceTimersByTimeAsync(500);
    expect(ticket).toHaveBeenCalledTimes(2);
    await vi.advanceTimersByTimeAsync(999);
    expect(ticket).toHaveBeenCalledTimes(2);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(states.at(-1)).toBe("offline");
  });

  it("does not reconnect after the session has ended", async () => {
    const { live, sockets, onRefused } = setUp();
    live.start();
    await settle();
    sockets[0]!.lose(CLOSE.sessionEnded);
    await vi.advanceTimersByTimeAsync(120_000);
    expect(onRefused).toHaveBeenCalledWith(CLOSE.sessionEnded);
    expect(sockets).toHaveLength(1);
  });

  it("treats silence as a lost connection", async () => {
    const { live, sockets } = setUp();
    live.start();
    await settle();
    sockets[0]!.receive({ type: "hello", cursor: "1" });
    await vi.advanceTimersByTimeAsync(40_000);
    sockets[0]!.receive({ type: "ping" });
    await vi.advanceTimersByTimeAsync(40_000);
    expect(sockets).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(6_000);
    expect(sockets[0]!.closed).toBe(true);
    expect(sockets).toHaveLength(2);
  });

  it("ignores messages after it was stopped", async () => {
    const { live, sockets, messages } = setUp();
    live.start();
    await settle();
    live.stop();
    sockets[0]!.receive(event("2"));
    sockets[0]!.lose();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(messages).toHaveLength(0);
    expect(sockets).toHaveLength(1);
  });
});
