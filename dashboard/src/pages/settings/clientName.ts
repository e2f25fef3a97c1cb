const BROWSERS: [RegExp, string][] = [
  // Each of these browsers also includes the names that follow in its user agent.
  [/Edg\/|EdgA\/|EdgiOS\//, "Edge"],
  [/OPR\//, "Opera"],
  [/Firefox\/|FxiOS\//, "Firefox"],
  [/Chrome\/|CriOS\//, "Chrome"],
  [/Safari\//, "Safari"],
];

const SYSTEMS: [RegExp, string][] = [
  [/Android/, "Android"],
  [/iPhone|iPad/, "iOS"],
  [/Windows/, "Windows"],
  [/Mac OS X|Macintosh/, "macOS"],
  [/CrOS/, "ChromeOS"],
  [/Linux|X11/, "Linux"],
];

/** A browser and its system; for other clients, the start of the user agent. */
export function clientName(agent: string): string {
  if (!agent.startsWith("Mozilla/")) return agent;
  const of = (table: [RegExp, string][]) => table.find(([sign]) => sign.test(agent))?.[1];
  return [of(BROWSERS), of(SYSTEMS)].filter(Boolean).join(" · ") || agent;
}
