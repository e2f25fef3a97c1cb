import type { PeriodOut } from "./queries";

export interface CallColumns {
  /** First the calls that succeeded, then the errors by number, descending. */
  names: string[];
  columns: { at: string; values: Record<string, number> }[];
}

/** As many series as there are distinguishable colours; the other errors are combined. */
const MAX_SERIES = 6;

export function failed(period: PeriodOut): number {
  return Object.values(period.failures).reduce((sum, calls) => sum + calls, 0);
}

export function sums(periods: readonly PeriodOut[]): { calls: number; failures: number; cost: number | null } {
  const costs = periods.map((period) => period.cost_usd).filter((cost) => cost !== null);
  return {
    calls: periods.reduce((sum, period) => sum + period.calls, 0),
    failures: periods.reduce((sum, period) => sum + failed(period), 0),
    cost: costs.length > 0 ? costs.reduce((sum, cost) => sum + cost, 0) : null,
  };
}

/** The bars of the chart: calls that succeeded, and failures by reason. `nameOf` returns the label of an error code. */
export function callColumns(periods: readonly PeriodOut[], succeeded: string, rest: string, nameOf: (error: string) => string): CallColumns {
  const totals = new Map<string, number>();
  for (const { failures } of periods) {
    for (const [error, calls] of Object.entries(failures)) totals.set(error, (totals.get(error) ?? 0) + calls);
  }
  const ranked = [...totals].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])).map(([error]) => error);
  const own = ranked.length > MAX_SERIES - 1 ? ranked.slice(0, MAX_SERIES - 2) : ranked;
  const columns = periods.map((period) => {
    const values: Record<string, number> = {};
    const add = (name: string, calls: number) => {
      if (calls > 0) values[name] = (values[name] ?? 0) + calls;
    };
    add(succeeded, period.calls - failed(period));
    for (const [error, calls] of Object.entries(period.failures)) add(own.includes(error) ? nameOf(error) : rest, calls);
    return { at: period.at, values };
  });
  const names = [succeeded, ...own.map(nameOf), ...(own.length < ranked.length ? [rest] : [])];
  return { names: [...new Set(names)], columns };
}
