import { X } from "lucide-react";
import type { ReactNode } from "react";
import { useT } from "../i18n/i18n";
import { Store, useStore } from "../lib/store";
import { Button } from "./Button";
import "./Toast.css";

interface Toast {
  id: number;
  text: ReactNode;
  tone: "plain" | "bad";
  action?: { label: string; run: () => void } | undefined;
}

const toasts = new Store<readonly Toast[]>([]);
let count = 0;

export interface ToastOptions {
  tone?: "plain" | "bad";
  action?: { label: string; run: () => void };
  ms?: number;
  /** Called once when the toast closes without its action: the time to undo is over. */
  onGone?: () => void;
}

/**
 * Shows a short notice for changes that are not visible on the page. Returns a function that removes it without
 * calling `onGone`.
 */
export function showToast(text: ReactNode, { tone = "plain", action, ms = 6000, onGone }: ToastOptions = {}): () => void {
  const id = (count += 1);
  const remove = () => toasts.set(toasts.state.filter((toast) => toast.id !== id));
  const timer = setTimeout(() => {
    remove();
    onGone?.();
  }, ms);
  const dismiss = () => {
    clearTimeout(timer);
    remove();
  };
  const once = action && { label: action.label, run: () => (dismiss(), action.run()) };
  toasts.set([...toasts.state, { id, text, tone, action: once }]);
  return dismiss;
}

export function Toasts() {
  const t = useT();
  const shown = useStore(toasts);
  return (
    <div className="toasts" role="status" aria-live="polite">
      {shown.map((toast) => (
        <div key={toast.id} className={`toast toast-${toast.tone}`}>
          <span>{toast.text}</span>
          {toast.action && (
            <Button size="small" onClick={toast.action.run}>
              {toast.action.label}
            </Button>
          )}
          {!toast.action && (
            <Button
              kind="quiet"
              size="small"
              icon={<X aria-hidden />}
              aria-label={t("common.dismiss")}
              onClick={() => toasts.set(shown.filter((one) => one.id !== toast.id))}
            />
          )}
        </div>
      ))}
    </div>
  );
}
