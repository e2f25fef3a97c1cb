import type { paths } from "../../api/schema";

type AuditQuery = NonNullable<paths["/api/audit"]["get"]["parameters"]["query"]>;

/** The filters in the address. Days are in the reader's time zone. */
export interface AuditSearch {
  q?: string | undefined;
  action?: string | undefined;
  user?: string | undefined;
  since?: string | undefined;
  until?: string | undefined;
  system?: "true" | undefined;
}

export function queryOf(search: AuditSearch): AuditQuery {
  return {
    q: search.q,
    action: search.action,
    user_id: search.user,
    since: startOf(search.since, 0),
    // Includes the whole last day.
    until: startOf(search.until, 1),
    system: search.system === "true",
  };
}

/** An invalid day in the address is ignored. */
function startOf(day: string | undefined, later: number): string | undefined {
  const [, year, month, date] = /^(\d{4})-(\d\d)-(\d\d)$/.exec(day ?? "") ?? [];
  if (!year) return undefined;
  return new Date(Number(year), Number(month) - 1, Number(date) + later).toISOString();
}
