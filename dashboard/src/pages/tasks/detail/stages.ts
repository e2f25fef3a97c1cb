/** The timeline of a task as text: one line for each stored event. */
import type { EventKind, EventOut } from "../../../api/types";
import type { Tone } from "../../../components/Badge";
import type { MessageKey } from "../../../i18n/i18n";

export interface Stage {
  id: number;
  at: string;
  attempt: number;
  key: MessageKey;
  values: Record<string, string | number>;
  tone: Tone;
  /** Additional text from the daemon, such as an error or a judge's reason. */
  note: string | null;
  /** Seconds since the previous stage. */
  after: number | null;
}

type Data = Record<string, unknown>;
type Line = Pick<Stage, "key" | "tone"> & { values?: Stage["values"]; note?: string | null };

const text = (value: unknown): string => (typeof value === "string" || typeof value === "number" ? String(value) : "");
const number = (value: unknown): number => (typeof value === "number" ? value : 0);

const LINES: Partial<Record<EventKind, (data: Data) => Line>> = {
  queued: (data) => queued(data),
  running: (data) => ({ key: "event.running", tone: "info", values: { worker: text(data.owner) } }),
  drafting: (data) => ({
    key: "event.drafting",
    tone: "info",
    values: { agent: text(data.agent), draft: number(data.draft) },
  }),
  decision: (data) =>
    data.chosen
      ? { key: "event.decision", tone: "info", values: { model: text(data.chosen) } }
      : { key: "event.decision_none", tone: "bad" },
  cache_hit: (data) => ({ key: "event.cache_hit", tone: "info", values: { model: text(data.model) } }),
  model_failed: (data) => ({
    key: "event.model_failed",
    tone: "bad",
    values: { model: text(data.model) },
    note: text(data.message) || text(data.code),
  }),
  attempt_rejected: (data) => ({ key: "event.draft_rejected", tone: "warn", values: { draft: number(data.draft) } }),
  verdict: (data) => ({
    key: data.approved ? "event.draft_approved" : "event.draft_rejected",
    tone: data.approved ? "good" : "warn",
    values: { draft: number(data.draft) },
  }),
  succeeded: () => ({ key: "event.succeeded", tone: "good" }),
  rejected: () => ({ key: "event.rejected", tone: "warn" }),
  failed: (data) => ({ key: "event.failed", tone: "bad", note: errorOf(data) }),
  dead: (data) => ({ key: "event.dead", tone: "bad", note: errorOf(data) }),
  cancelled: (data) => ({ key: "event.cancelled", tone: "neutral", note: errorOf(data) }),
  cancel_requested: () => ({ key: "event.cancel_requested", tone: "neutral" }),
  labelled: (data) => labelled(data),
  judged: (data) => ({
    key: "event.judged",
    tone: "info",
    values: { score: number(data.score) },
    note: text(data.reason) || null,
  }),
  not_judged: (data) => ({ key: "event.not_judged", tone: "neutral", note: text(data.reason) || null }),
};

export function stageOf(event: EventOut, before?: EventOut): Stage {
  const data = event.data as Data;
  // An event kind that this page does not know is shown by its name rather than omitted.
  const line: Line = LINES[event.kind]?.(data) ?? { key: "event.other", tone: "neutral", values: { kind: event.kind } };
  return {
    id: event.id,
    at: event.at,
    attempt: event.attempt,
    key: line.key,
    values: line.values ?? {},
    tone: line.tone,
    note: line.note ?? null,
    after: before ? Math.max(0, (Date.parse(event.at) - Date.parse(before.at)) / 1000) : null,
  };
}

export function stagesOf(events: readonly EventOut[]): Stage[] {
  return events.map((event, index) => stageOf(event, events[index - 1]));
}

function queued(data: Data): Line {
  if (data.retry) return { key: "event.queued_again", tone: "neutral" };
  const note = errorOf(data);
  if (typeof data.retry_in_s === "number") {
    return { key: "event.queued_retry", tone: "warn", values: { count: Math.ceil(data.retry_in_s) }, note };
  }
  if (note) return { key: "event.queued_back", tone: "warn", note };
  return { key: "event.queued", tone: "neutral", values: { agent: text(data.agent) } };
}

function labelled(data: Data): Line {
  const kinds: Record<string, Line> = {
    accept: { key: "event.labelled_accept", tone: "good" },
    edit: { key: "event.labelled_edit", tone: "info" },
    reject: { key: "event.labelled_reject", tone: "warn" },
  };
  return kinds[text(data.label)] ?? { key: "event.other", tone: "neutral", values: { kind: "labelled" } };
}

export function errorOf({ error }: Data): string | null {
  if (typeof error !== "object" || error === null) return null;
  const { message, detail, code } = error as Data;
  return text(message) || text(detail) || text(code) || null;
}
