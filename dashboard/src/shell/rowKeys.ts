import type { Shortcuts } from "./shortcuts";

/** From anywhere on a page into its table; within it the rows listen themselves. */
export const ROW_KEYS: Shortcuts = { j: focusTable, k: focusTable, ArrowDown: focusTable };

function focusTable(): void {
  document.querySelector<HTMLElement>("main tr[tabindex='0']")?.focus();
}
