import type { SampleState } from "../../api/types";

export const SAMPLE_STATES: readonly SampleState[] = ["open", "corrected", "approved", "rejected", "held_out"];

export interface SampleFilters {
  state?: SampleState[];
  task_type?: string;
  q?: string;
}
