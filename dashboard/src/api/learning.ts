/** Fine-tuning runs and adapters, until openapi.json describes their endpoints. */

export type RunState = "waiting" | "training" | "evaluating" | "done" | "failed" | "cancelled";

export interface CurvePoint {
  step: number;
  loss: number | null;
  /** Null where this step was not validated. */
  validation_loss: number | null;
}

export interface Progress {
  phase: string | null;
  step: number | null;
  steps: number | null;
  loss: number | null;
  validation_loss: number | null;
  tokens_per_s: number | null;
  /** Seconds until the training ends, as far as it can tell. */
  left_s: number | null;
  curve: CurvePoint[];
}

export interface Run {
  id: string;
  base: string;
  state: RunState;
  task_id: string | null;
  rows: number;
  progress: Partial<Progress>;
  error: string | null;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
  adapter_id: string | null;
}

export function isUnderWay({ state }: Pick<Run, "state">): boolean {
  return state === "waiting" || state === "training" || state === "evaluating";
}

export interface Base {
  name: string;
  trainable: boolean;
  /** Why it cannot be trained. */
  reason: string | null;
}

export interface Room {
  needed: number;
  free: number;
}

export interface Plan {
  base: string;
  rows: number;
  training: number;
  held_out: number;
  replayed: number;
  memory_bytes: Room;
  disk_bytes: Room;
  device: string;
  /** What must be mended first. */
  problems: string[];
}

export type AdapterState = "candidate" | "needs_approval" | "canary" | "live" | "retired" | "refused" | "deleted";
export type Ruling = "promote" | "needs_approval" | "refuse";

export interface Adapter {
  id: string;
  name: string;
  base: string;
  version: number;
  state: AdapterState;
  bytes: number;
  sha256: string;
  created_at: string;
  changed_at: string;
  run_id: string;
  ruling: Ruling | null;
  reason: string | null;
  /** Of the base's traffic, in [0, 1]. */
  share: number;
  serving: { state: "served" | "waiting" | "not_served"; problem: string | null };
}

export interface Pair {
  id: string;
  prompt: string;
  wanted: string | null;
  base: string;
  candidate: string;
  /** In [0, 1]; null where nothing measured it. */
  base_quality: number | null;
  candidate_quality: number | null;
}

export interface Comparison {
  pairs: Pair[];
  /** Mean quality of the base alone and with the adapter. */
  base: number | null;
  candidate: number | null;
  /** Candidate less base, and the interval that the gate decides by. */
  difference: number | null;
  low: number | null;
  high: number | null;
}

export interface Report {
  held_out: Comparison;
  control: Comparison;
  /** How much worse the control may become. */
  margin: number;
  ruling: Ruling;
  reason: string;
  measured_on: string | null;
}

export interface LineageRow {
  sample_id: string;
  version: number;
  part: "training" | "held_out";
  erased: boolean;
}

export interface AdapterDetail extends Adapter {
  manifest: Record<string, unknown>;
  report: Report | null;
  rows: LineageRow[];
}
