import type { TrafficOut } from "../../api/types";

export interface Band {
  /** Sorted by number of decisions, descending. */
  names: string[];
  columns: { day: string; values: Record<string, number> }[];
}

/** As many series as there are distinguishable colours; the others are combined. */
const MAX_SERIES = 6;

/** Decisions by day and model. Days without decisions stay as gaps, because the axis is time. */
export function bandOf(rows: readonly TrafficOut[], days: number, today: Date, rest: string, taskType?: string): Band {
  const chosen = rows.filter((row) => !taskType || row.task_type === taskType);
  const totals = new Map<string, number>();
  for (const row of chosen) totals.set(row.model, (totals.get(row.model) ?? 0) + row.decisions);
  const ranked = [...totals].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])).map(([name]) => name);
  const own = ranked.length > MAX_SERIES ? ranked.slice(0, MAX_SERIES - 1) : ranked;
  const byDay = new Map<string, Record<string, number>>();
  for (const row of chosen) {
    const day = row.day.slice(0, 10);
    const values = byDay.get(day) ?? {};
    const name = own.includes(row.model) ? row.model : rest;
    values[name] = (values[name] ?? 0) + row.decisions;
    byDay.set(day, values);
  }
  const columns = Array.from({ length: days }, (_, index) => {
    const day = new Date(today.getTime() - (days - 1 - index) * 86_400_000).toISOString().slice(0, 10);
    return { day, values: byDay.get(day) ?? {} };
  });
  return { names: own.length < ranked.length ? [...own, rest] : own, columns };
}
