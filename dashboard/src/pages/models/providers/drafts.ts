/** What a person enters for a provider and its models, as requests. Pure functions. */
import type { KindOut, ModelBody, ModelPatch, ProviderBody, ProviderOut, ProviderPatch, StoredModelOut, UpstreamOut } from "../../../api/types";

export interface ServerDraft {
  kind: KindOut["kind"];
  name: string;
  address: string;
  key: string;
  /** One `Name: value` in each line. */
  headers: string;
  ca: string;
  local: "" | "yes" | "no";
}

export const EMPTY: Omit<ServerDraft, "kind"> = { name: "", address: "", key: "", headers: "", ca: "", local: "" };

/** A line that is not `Name: value`. */
export class InvalidHeader extends Error {}

/** The headers in the text. Throws `InvalidHeader`, which contains the name at most: values may be secret. */
export function headersOf(text: string): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const line of text.split(/\r?\n/)) {
    if (!line.trim()) continue;
    const at = line.indexOf(":");
    const name = line.slice(0, Math.max(at, 0)).trim();
    if (!name) throw new InvalidHeader();
    headers[name] = line.slice(at + 1).trim();
  }
  return headers;
}

export function hasValidHeaders(text: string): boolean {
  try {
    headersOf(text);
    return true;
  } catch {
    return false;
  }
}

/** Empty fields are left out: the daemon then uses the kind's usual address, no key, and decides where it runs. */
export function providerBody(draft: ServerDraft): ProviderBody {
  const { kind, name, local } = draft;
  return { kind, name: name.trim(), ...serverOf(draft), ...(local && { local: local === "yes" }) };
}

export function serverOf({ address, key, headers, ca }: ServerDraft) {
  return {
    ...(address.trim() && { address: address.trim() }),
    ...(key && { key }),
    headers: headersOf(headers),
    ...(ca.trim() && { ca }),
  };
}

/** A model of a server that was chosen, and what was entered for it. */
export interface ChosenModel {
  upstream: string;
  /** What the server lists for it; null for one entered by its name. */
  listed: UpstreamOut | null;
  name: string;
  input: string;
  output: string;
  perHour: string;
}

export function chosen(upstream: string, listed: UpstreamOut | null): ChosenModel {
  return { upstream, listed, name: "", input: "", output: "", perHour: "" };
}

/** Whether only one of both prices was entered. */
export function halfPriced({ input, output }: Pick<ChosenModel, "input" | "output">): boolean {
  return (input === "") !== (output === "");
}

/** Without an entered price, the server's listed one is kept with its day; without either, the daemon looks it up. */
export function modelBody(model: ChosenModel): ModelBody {
  const { listed } = model;
  const entered = model.input !== "" && model.output !== "" ? { input: Number(model.input), output: Number(model.output) } : null;
  const price = entered ?? listed?.price ?? null;
  return {
    upstream: model.upstream,
    ...(model.name.trim() && { name: model.name.trim() }),
    ...(listed?.context != null && { context: listed.context }),
    ...(listed?.capabilities && { capabilities: listed.capabilities }),
    ...(price && { price }),
    ...(model.perHour !== "" && { price_per_hour: Number(model.perHour) }),
  };
}

/** Words separated by commas or lines, each once. */
export function wordsOf(text: string): string[] {
  return [...new Set(text.split(/[,\n]/).map((word) => word.trim()).filter(Boolean))];
}

export function numberOf(text: string): number | null {
  return text.trim() === "" ? null : Number(text);
}

/** Changed fields of a stored provider. Those that are undefined stay. */
export interface ProviderEdits {
  name?: string;
  address?: string;
  key?: string;
  removeKey?: boolean;
  headers?: string;
  removeHeaders?: boolean;
  ca?: string;
  local?: boolean;
}

/** The request with what differs from the stored provider; null if nothing does. */
export function providerPatch(stored: ProviderOut, edits: ProviderEdits): ProviderPatch | null {
  const name = edits.name?.trim();
  const address = edits.address?.trim();
  const changes: Omit<ProviderPatch, "version"> = {
    ...(name && name !== stored.name && { name }),
    ...(address && address !== stored.address && { address }),
    ...(edits.removeKey ? { key: null } : edits.key && { key: edits.key }),
    ...(edits.removeHeaders ? { headers: null } : edits.headers?.trim() && { headers: headersOf(edits.headers) }),
    ...(edits.ca !== undefined && edits.ca.trim() !== (stored.ca ?? "").trim() && { ca: edits.ca.trim() ? edits.ca : null }),
    ...(edits.local !== undefined && edits.local !== stored.local && { local: edits.local }),
  };
  return Object.keys(changes).length > 0 ? { version: stored.version, ...changes } : null;
}

/** A stored model as text in a form. */
export interface ModelEdits {
  context: string;
  capabilities: string[];
  input: string;
  output: string;
  perHour: string;
  specialties: string;
  tier: string;
  enabled: boolean;
}

export function editsOf(model: StoredModelOut): ModelEdits {
  const text = (value: number | null | undefined) => (value == null ? "" : String(value));
  return {
    context: text(model.context),
    capabilities: model.capabilities,
    input: text(model.price?.input),
    output: text(model.price?.output),
    perHour: text(model.price_per_hour),
    specialties: model.specialties.join(", "),
    tier: text(model.tier),
    enabled: model.enabled,
  };
}

/** The changed fields. A price that was not touched keeps its day and source. */
export function modelPatch(stored: StoredModelOut, edits: ModelEdits): ModelPatch {
  const before = editsOf(stored);
  const changed = (name: keyof ModelEdits) => String(before[name]) !== String(edits[name]);
  const price = edits.input === "" ? null : { input: Number(edits.input), output: Number(edits.output) };
  return {
    ...(changed("context") && { context: numberOf(edits.context) }),
    ...(changed("capabilities") && { capabilities: edits.capabilities }),
    ...((changed("input") || changed("output")) && { price }),
    ...(changed("perHour") && { price_per_hour: numberOf(edits.perHour) }),
    ...(changed("specialties") && { specialties: wordsOf(edits.specialties) }),
    ...(changed("tier") && { tier: numberOf(edits.tier) }),
    ...(changed("enabled") && { enabled: edits.enabled }),
  };
}
