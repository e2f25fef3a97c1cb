import type { TaskState } from "../api/types";

export const TASK_STATES: readonly TaskState[] = [
  "queued",
  "running",
  "succeeded",
  "rejected",
  "failed",
  "dead",
  "cancelled",
];
