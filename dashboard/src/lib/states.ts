import type { TaskState } from "../api/contract";

export const TASK_STATES: readonly TaskState[] = [
  "queued",
  "running",
  "succeeded",
  "rejected",
  "failed",
  "dead",
  "cancelled",
];
