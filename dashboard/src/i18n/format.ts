import { catalogue, useLanguage } from "./i18n";

const cache = new Map<string, unknown>();

/** Returns a cached Intl formatter. Creating one is slow, and a table needs thousands. */
function cached<T>(name: string, make: (language: string) => T): T {
  const key = `${catalogue.state.language} ${name}`;
  let formatter = cache.get(key) as T | undefined;
  if (!formatter) cache.set(key, (formatter = make(catalogue.state.language)));
  return formatter;
}

export function formatNumber(value: number, digits = 0): string {
  return cached(`n${digits}`, (l) => new Intl.NumberFormat(l, { maximumFractionDigits: digits })).format(value);
}

export function formatPercent(share: number, digits = 0): string {
  const options = { style: "percent", maximumFractionDigits: digits } as const;
  return cached(`p${digits}`, (l) => new Intl.NumberFormat(l, options)).format(share);
}

/** Calls cost fractions of a cent: at least cents, and two significant digits for small amounts. */
export function formatMoney(usd: number): string {
  const small = usd !== 0 && Math.abs(usd) < 0.1;
  const digits = small
    ? ({ maximumSignificantDigits: 2 } as const)
    : ({ minimumFractionDigits: 2, maximumFractionDigits: 2 } as const);
  return cached(`m${small}`, (l) => new Intl.NumberFormat(l, { style: "currency", currency: "USD", ...digits })).format(usd);
}

export function formatDuration(seconds: number): string {
  const unit = (value: number, name: "millisecond" | "second" | "minute" | "hour" | "day", digits = 0) =>
    cached(
      `u${name}${digits}`,
      (l) => new Intl.NumberFormat(l, { style: "unit", unit: name, unitDisplay: "narrow", maximumFractionDigits: digits }),
    ).format(value);
  if (seconds < 1) return unit(Math.round(seconds * 1000), "millisecond");
  if (seconds < 60) return unit(seconds, "second", 1);
  const whole = Math.round(seconds);
  if (whole < 3600) return `${unit(Math.floor(whole / 60), "minute")} ${unit(whole % 60, "second")}`;
  if (whole < 86_400) return `${unit(Math.floor(whole / 3600), "hour")} ${unit(Math.floor((whole % 3600) / 60), "minute")}`;
  return `${unit(Math.floor(whole / 86_400), "day")} ${unit(Math.floor((whole % 86_400) / 3600), "hour")}`;
}

const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

export function formatBytes(bytes: number): string {
  const power = Math.min(SIZES.length - 1, bytes < 1 ? 0 : Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** power;
  return `${formatNumber(value, power === 0 || value >= 100 ? 0 : 1)} ${SIZES[power]}`;
}

export function formatDateTime(iso: string): string {
  const options = { dateStyle: "medium", timeStyle: "medium" } as const;
  return cached("dt", (l) => new Intl.DateTimeFormat(l, options)).format(new Date(iso));
}

export function formatTime(iso: string): string {
  return cached("t", (l) => new Intl.DateTimeFormat(l, { timeStyle: "medium" })).format(new Date(iso));
}

export function formatDate(iso: string): string {
  return cached("d", (l) => new Intl.DateTimeFormat(l, { dateStyle: "medium" })).format(new Date(iso));
}

/** Days of a report are UTC dates, independent of the reader's time zone. */
export function formatDay(day: string): string {
  const options = { month: "short", day: "numeric", timeZone: "UTC" } as const;
  return cached("day", (l) => new Intl.DateTimeFormat(l, options)).format(new Date(`${day.slice(0, 10)}T00:00:00Z`));
}

export function formatHour(iso: string): string {
  const options = { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" } as const;
  return cached("hour", (l) => new Intl.DateTimeFormat(l, options)).format(new Date(iso));
}

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["week", 604_800],
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
];

export function formatRelative(iso: string, now = Date.now()): string {
  const seconds = (Date.parse(iso) - now) / 1000;
  const format = cached("r", (l) => new Intl.RelativeTimeFormat(l, { numeric: "auto", style: "short" }));
  for (const [unit, size] of STEPS) {
    if (Math.abs(seconds) >= size) return format.format(Math.trunc(seconds / size), unit);
  }
  // Clocks differ by some seconds, and "in 2 seconds" would be confusing for a past event.
  return Math.abs(seconds) < 10 ? format.format(0, "second") : format.format(Math.trunc(seconds), "second");
}

/** Formatters for components, which re-render when the language changes. */
export function useFormats() {
  useLanguage();
  return {
    number: formatNumber,
    percent: formatPercent,
    money: formatMoney,
    duration: formatDuration,
    bytes: formatBytes,
    dateTime: formatDateTime,
    time: formatTime,
    date: formatDate,
    day: formatDay,
    hour: formatHour,
    relative: formatRelative,
  };
}
