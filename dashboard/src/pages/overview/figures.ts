import type { Overview } from "../../api/contract";

/** Of what the guardian spoke on; null where it spoke on nothing, which is no share of zero. */
export function approvedShare({ approved, rejected }: { approved: number; rejected: number }): number | null {
  const judged = approved + rejected;
  return judged === 0 ? null : approved / judged;
}

/** Everything that is known of the last days and today: a project without any is a new one. */
export function total(data: Overview): number {
  const today = Object.values(data.today).reduce((sum, count) => sum + count, 0);
  return data.days.reduce((sum, day) => sum + day.approved + day.rejected + day.failed, today);
}

/** When the day of UTC began, by which the daemon counts. */
export function midnight(now = new Date()): string {
  return `${now.toISOString().slice(0, 10)}T00:00:00Z`;
}
