import type { Shortcuts } from "./shortcuts";

/** Moves the focus from anywhere on a page into its table; the table handles keys itself. */
export const ROW_KEYS: Shortcuts = { j: focusTable, k: focusTable, ArrowDown: focusTable };

function focusTable(): void {
  document.querySelector<HTMLElement>("main tr[tabindex='0']")?.focus();
}
