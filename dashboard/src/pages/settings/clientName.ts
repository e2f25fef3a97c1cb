const BROWSERS: [RegExp, string][] = [
  // Each of these also calls itself by the names that follow.
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

/** A browser in two words; whatever else signed in, by what it calls itself. */
export function clientName(agent: string): string {
  if (!agent.startsWith("Mozilla/")) return agent;
  const of = (table: [RegExp, string][]) => table.find(([sign]) => sign.test(agent))?.[1];
  return [of(BROWSERS), of(SYSTEMS)].filter(Boolean).join(" · ") || agent;
}
