import type { TaskState } from "../api/contract";

export interface LiveTask {
  id: string;
  state: TaskState;
  agent: string;
  model: string | null;
  title: string;
  task_type: string | null;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
  attempts: number;
}

export interface LiveEvent {
  type: "event";
  cursor: string;
  id: number;
  task_id: string;
  attempt: number;
  kind: string;
  data: Record<string, unknown>;
  at: string;
  task: LiveTask;
}

export interface LiveDelta {
  type: "delta";
  task_id: string;
  attempt: number;
  draft: number;
  /** Offset in the draft at which this text starts; 0 when another model starts over. */
  offset?: number;
  text: string;
}

export type LiveMessage = { type: "hello"; cursor: string } | LiveEvent | LiveDelta | { type: "ping" };

export const CLOSE = { sessionEnded: 4401, notMember: 4403, tooSlow: 4408 } as const;
