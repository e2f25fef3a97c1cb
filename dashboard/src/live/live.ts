/** Connects the tab's event stream to its session and to the query caches. */
import { api, ok } from "../api/client";
import type { EventKind, TaskDetail, TaskState } from "../api/types";
import type { TaskFilters } from "../api/queries";
import { queryClient } from "../api/queryClient";
import { session } from "../auth/session";
import { Store } from "../lib/store";
import { FrameBatch } from "./batch";
import { deltas } from "./deltas";
import { CLOSE, type LiveDelta, type LiveEvent } from "./messages";
import { latest, reduceDetail, reducePages, type TaskPages } from "./reduce";
import { LiveSocket, type LiveState } from "./socket";

export const liveState = new Store<LiveState>("connecting");

/** Totals over many tasks, refetched some time after a change rather than for every event. */
const TOTALS = ["overview", "agents"] as const;
const TOTALS_MS = 2000;
const DETAIL_MS = 300;
const FINAL_KINDS = ["succeeded", "rejected", "failed", "dead", "cancelled"] as const;
const FINAL: ReadonlySet<TaskState> = new Set(FINAL_KINDS);
const HAS_DETAIL = new Set<EventKind>([...FINAL_KINDS, "verdict", "attempt_rejected", "labelled", "decision"]);

let socket: LiveSocket | null = null;
let project: string | null = null;
const waiting = new Map<string, ReturnType<typeof setTimeout>>();

const batch = new FrameBatch<LiveEvent | LiveDelta>((items) => {
  const pieces = items.filter((item) => item.type === "delta");
  const events = items.filter((item) => item.type === "event");
  if (pieces.length > 0) deltas.append(pieces);
  if (events.length > 0) apply(events);
});

function apply(events: LiveEvent[]): void {
  const tasks = latest(events);
  for (const query of queryClient.getQueryCache().findAll({ queryKey: [project, "tasks"] })) {
    const filters = (query.queryKey[2] ?? {}) as TaskFilters;
    queryClient.setQueryData<TaskPages>(query.queryKey, (data) => data?.pages && reducePages(data, filters, tasks));
  }
  for (const query of queryClient.getQueryCache().findAll({ queryKey: [project, "task"] })) {
    const id = query.queryKey[2];
    if (typeof id !== "string" || !tasks.has(id)) continue;
    queryClient.setQueryData<TaskDetail>(query.queryKey, (detail) => detail && reduceDetail(detail, events));
    // Verdicts and decisions are separate rows, which the event only announces.
    if (events.some((event) => event.task_id === id && HAS_DETAIL.has(event.kind))) refetchLater(["task", id], DETAIL_MS);
  }
  for (const [id, task] of tasks) if (FINAL.has(task.state)) deltas.ended(id);
  for (const name of TOTALS) refetchLater([name], TOTALS_MS);
  // A rejected answer is a new sample of the dataset. The sample list is refetched only where it is shown.
  refetchLater(["dataset", "stats"], TOTALS_MS);
}

function refetchLater(key: readonly unknown[], ms: number): void {
  const name = key.join(" ");
  if (waiting.has(name)) return;
  const timer = setTimeout(() => {
    waiting.delete(name);
    void queryClient.invalidateQueries({ queryKey: [project, ...key] });
  }, ms);
  waiting.set(name, timer);
}

function follow(): void {
  const { status, projectId } = session.state;
  const wanted = status === "in" ? projectId : null;
  if (wanted === project) return;
  stop();
  project = wanted;
  if (wanted !== null) connect();
}

function connect(): void {
  socket = new LiveSocket({
    ticket: async () => (await ok(api.POST("/api/events/ticket"))).ticket,
    open: (ticket, after) => {
      const address = new URL("/api/events", location.origin.replace(/^http/, "ws"));
      address.searchParams.set("ticket", ticket);
      address.searchParams.set("after", after);
      return new WebSocket(address);
    },
    onMessage: (message) => {
      if (message.type === "event" || message.type === "delta") batch.push(message);
    },
    onState: (state) => liveState.set(state),
    onGap: () => void queryClient.invalidateQueries({ queryKey: [project], predicate: isOfTasks }),
    onRefused: (code) => void refused(code),
    online: () => navigator.onLine,
  });
  socket.start();
}

function isOfTasks({ queryKey }: { queryKey: readonly unknown[] }): boolean {
  return ["tasks", "task", ...TOTALS].includes(String(queryKey[1]));
}

async function refused(code: number): Promise<void> {
  try {
    // A session that only needs a new access token continues with it; an ended one redirects to sign-in.
    if (await session.refresh()) {
      if (code === CLOSE.notMember) await queryClient.invalidateQueries();
      if (project !== null && session.projectId === project) socket?.start();
    }
  } catch {
    socket?.start();
  }
}

function stop(): void {
  socket?.stop();
  socket = null;
  batch.clear();
  deltas.clear();
  for (const timer of waiting.values()) clearTimeout(timer);
  waiting.clear();
}

/** Called once, by main.tsx. */
export function runLive(): void {
  session.subscribe(follow);
  addEventListener("online", () => socket?.reconnectNow());
  addEventListener("offline", () => liveState.set("offline"));
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) socket?.reconnectNow();
  });
  follow();
}
