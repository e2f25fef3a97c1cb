import { Store } from "../lib/store";

export type Theme = "light" | "dark" | "system";

const STORED = "kairos.theme";

function stored(): Theme {
  const theme = document.documentElement.dataset.theme;
  return theme === "light" || theme === "dark" ? theme : "system";
}

export const themeStore = new Store<Theme>(stored());

/** Stored for public/theme.js, which applies it before the first paint of the next visit. */
export function setTheme(theme: Theme): void {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  themeStore.set(theme);
  try {
    if (theme === "system") localStorage.removeItem(STORED);
    else localStorage.setItem(STORED, theme);
  } catch {
    // The choice then lasts until the page is closed.
  }
}
