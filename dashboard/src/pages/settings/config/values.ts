import type { ConfigValue } from "../../../api/contract";

/** `queue` of `queue.max_attempts`; empty for the keys above all tables. */
export function tableOf(key: string): string {
  return key.includes(".") ? key.slice(0, key.indexOf(".")) : "";
}

/** By table in the order of the API, the project's own first; the words of a search stand in the key or in what it says of itself. */
export function grouped(values: readonly ConfigValue[], words: string): [string, ConfigValue[]][] {
  const wanted = words.trim().toLowerCase();
  const groups = new Map<string, ConfigValue[]>();
  for (const value of values) {
    if (!`${value.key} ${value.description}`.toLowerCase().includes(wanted)) continue;
    groups.set(tableOf(value.key), [...(groups.get(tableOf(value.key)) ?? []), value]);
  }
  return [...groups].toSorted(([a], [b]) => Number(b === "project") - Number(a === "project"));
}

/** As a person reads and writes it: text as it stands, everything else as JSON. */
export function written(value: unknown): string {
  if (value === null || value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** What was written, as the key's type wants it. The API judges what it is worth. */
export function read(text: string, kind: string): unknown {
  if (kind.startsWith("text") || kind.startsWith("path")) return text;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
