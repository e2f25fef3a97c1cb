import type { Overview } from "../../api/types";

/** Approved share of all verdicts; null when there are none. */
export function approvedShare({ approved, rejected }: { approved: number; rejected: number }): number | null {
  const verdicts = approved + rejected;
  return verdicts === 0 ? null : approved / verdicts;
}

/** Total tasks of the last days and today; zero for a new project. */
export function total(data: Overview): number {
  const today = Object.values(data.today).reduce((sum, count) => sum + count, 0);
  return data.days.reduce((sum, day) => sum + day.approved + day.rejected + day.failed, today);
}

/** The start of the current UTC day, which the daemon uses for its counts. */
export function midnight(now = new Date()): string {
  return `${now.toISOString().slice(0, 10)}T00:00:00Z`;
}
