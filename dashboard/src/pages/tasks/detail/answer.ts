/** Selects the text that a task's page shows as its answer, with its status. Pure functions. */
import type { EventOut, FindingOut, TaskDetail } from "../../../api/types";
import type { Draft } from "../../../live/deltas";

export interface ShownAnswer {
  kind: "waiting" | "writing" | "replaced" | "checked" | "final" | "none";
  text: string;
  draft: number | null;
  /** Characters before or within the text that were not received. */
  missing: number;
  findings: FindingOut[];
}

export const FINAL: ReadonlySet<string> = new Set(["succeeded", "rejected", "failed", "dead", "cancelled"]);

export function answerOf(task: TaskDetail, drafts: readonly Draft[]): ShownAnswer {
  if (FINAL.has(task.state)) return finalOf(task);
  const begun = task.events.findLast((event) => event.kind === "drafting");
  const running = task.state === "running" && begun !== undefined && begun.attempt === task.attempts;
  if (!running) return { kind: "waiting", text: "", draft: null, missing: 0, findings: [] };
  const draft = numberOf(begun);
  const verdict = task.events.findLast((event) => event.attempt === begun.attempt && isVerdict(event) && numberOf(event) === draft);
  const piece = drafts.find((one) => one.attempt === begun.attempt && one.draft === draft);
  // A stored verdict contains the whole text; the live messages may be incomplete.
  const stored = task.verdicts.find((one) => one.attempt === begun.attempt && one.draft === draft);
  return {
    kind: !verdict ? (piece ? "writing" : "waiting") : verdict.kind === "attempt_rejected" ? "replaced" : "checked",
    text: stored?.output ?? piece?.text ?? "",
    draft,
    missing: stored ? 0 : (piece?.missing ?? 0),
    findings: verdict ? findingsOf(verdict) : [],
  };
}

function finalOf(task: TaskDetail): ShownAnswer {
  const verdict = task.verdicts.at(-1);
  const text = task.output ?? "";
  return {
    kind: task.output === null ? "none" : "final",
    text,
    draft: null,
    missing: 0,
    // Line numbers refer to the verdict's text and would be wrong on another.
    findings: verdict ? (verdict.output === text ? verdict.findings : verdict.findings.map(({ line: _, ...one }) => one)) : [],
  };
}

const isVerdict = (event: EventOut) => event.kind === "attempt_rejected" || event.kind === "verdict";

function numberOf(event: EventOut): number {
  const { draft } = event.data as { draft?: unknown };
  return typeof draft === "number" ? draft : 1;
}

function findingsOf(event: EventOut): FindingOut[] {
  const { findings } = event.data as { findings?: unknown };
  return Array.isArray(findings) ? (findings as FindingOut[]) : [];
}

export interface PlacedFindings {
  /** Findings by 1-based line number. */
  byLine: Map<number, FindingOut[]>;
  /** Findings on the whole answer, or on a line that it does not have. */
  whole: FindingOut[];
}

export function placeFindings(findings: readonly FindingOut[], lines: number): PlacedFindings {
  const byLine = new Map<number, FindingOut[]>();
  const whole: FindingOut[] = [];
  for (const finding of findings) {
    if (finding.line == null || finding.line < 1 || finding.line > lines) whole.push(finding);
    else byLine.set(finding.line, [...(byLine.get(finding.line) ?? []), finding]);
  }
  return { byLine, whole };
}
