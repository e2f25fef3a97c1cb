import { en, type Messages } from "../messages/en";
import { Store, useStore } from "../lib/store";
import type { Message, Translation } from "./types";

export type Language = "en" | "tr";
export type MessageKey = keyof Messages;
export type Values = Record<string, string | number>;

export const LANGUAGES: { code: Language; name: string }[] = [
  { code: "en", name: "English" },
  { code: "tr", name: "Türkçe" },
];

const STORED = "kairos.language";

interface Catalogue {
  language: Language;
  messages: Translation<Messages>;
}

export const catalogue = new Store<Catalogue>({ language: "en", messages: en });

export function preferred(): Language {
  try {
    const stored = localStorage.getItem(STORED);
    if (stored === "en" || stored === "tr") return stored;
  } catch {
    // Blocked storage: the browser's language applies.
  }
  return navigator.languages.some((one) => one.toLowerCase().startsWith("tr")) ? "tr" : "en";
}

export async function setLanguage(language: Language, keep = false): Promise<void> {
  const messages = language === "tr" ? (await import("../messages/tr")).tr : en;
  document.documentElement.lang = language;
  catalogue.set({ language, messages });
  if (!keep) return;
  try {
    localStorage.setItem(STORED, language);
  } catch {
    // The choice then lasts until the page is closed.
  }
}

export function translate(key: MessageKey, values: Values = {}): string {
  const { language, messages } = catalogue.state;
  return filled(messages[key], values, language);
}

function filled(message: Message, values: Values, language: Language): string {
  const text =
    typeof message === "string" ? message : message[pluralForm(Number(values.count ?? 0), language)];
  return text.replace(/\{(\w+)\}/g, (place, name: string) => {
    const value = values[name];
    if (value === undefined) return place;
    return typeof value === "number" ? new Intl.NumberFormat(language).format(value) : value;
  });
}

function pluralForm(count: number, language: Language): "one" | "other" {
  return new Intl.PluralRules(language).select(count) === "one" ? "one" : "other";
}

/** Returns the translate function; the component re-renders when the language changes. */
export function useT(): typeof translate {
  useStore(catalogue);
  return translate;
}

export function useLanguage(): Language {
  return useStore(catalogue).language;
}
