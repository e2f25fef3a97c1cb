import type { ValueOut } from "../../../api/types";

/** `queue` for `queue.max_attempts`; empty for top-level keys. */
export function tableOf(key: string): string {
  return key.includes(".") ? key.slice(0, key.indexOf(".")) : "";
}

/** By table in the order of the API, project values first. Search terms match the key or its description. */
export function grouped(values: readonly ValueOut[], search: string): [string, ValueOut[]][] {
  const wanted = search.trim().toLowerCase();
  const groups = new Map<string, ValueOut[]>();
  for (const value of values) {
    if (!`${value.key} ${value.description}`.toLowerCase().includes(wanted)) continue;
    groups.set(tableOf(value.key), [...(groups.get(tableOf(value.key)) ?? []), value]);
  }
  return [...groups].toSorted(([a], [b]) => Number(b === "project") - Number(a === "project"));
}

/** Formats a value for display and editing: text unchanged, everything else as JSON. */
export function formatValue(value: unknown): string {
  if (value === null || value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** Parses the input for the type of the key. The API validates it. */
export function parseValue(text: string, kind: string): unknown {
  if (kind.startsWith("text") || kind.startsWith("path")) return text;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
