import { useEffect } from "react";

export type Shortcuts = Record<string, () => void>;

const SEQUENCE_MS = 1200;

/**
 * Page-wide keys: single ones such as `c`, and sequences such as `g t`. Disabled while the user types, while a dialog
 * or menu is open, and with a modifier key.
 */
export function useShortcuts(shortcuts: Shortcuts): void {
  useEffect(() => {
    let first = "";
    let pressedAt = 0;
    function onKey(event: KeyboardEvent) {
      if (event.defaultPrevented || event.metaKey || event.ctrlKey || event.altKey || isTyping(event.target)) return;
      if (document.querySelector("[role=dialog], [role=alertdialog], [role=menu]")) return;
      const now = performance.now();
      const sequence = first && now - pressedAt < SEQUENCE_MS ? `${first} ${event.key}` : event.key;
      const run = shortcuts[sequence];
      const begins = Object.keys(shortcuts).some((keys) => keys.startsWith(`${event.key} `));
      first = !run && begins ? event.key : "";
      pressedAt = now;
      if (!run) return;
      event.preventDefault();
      run();
    }
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, [shortcuts]);
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}
