import { useState, type FormEvent, type ReactNode } from "react";
import { toProblem, type Problem } from "../api/problem";
import { useT } from "../i18n/i18n";
import { Button } from "./Button";
import { Dialog, DialogActions } from "./Dialog";
import { ErrorState } from "./ErrorState";
import { Field, Input } from "./Field";

export interface ConfirmDialogProps {
  open: boolean;
  onClose: () => void;
  title: ReactNode;
  /** The effects of the action, and what does not change. */
  children: ReactNode;
  action: string;
  /** `primary` for actions that can be undone. */
  kind?: "danger" | "primary";
  /** Text that must be typed to confirm an action that cannot be undone. */
  typed?: string;
  onConfirm: () => Promise<void>;
}

export function ConfirmDialog({ open, onClose, title, children, action, kind = "danger", typed, onConfirm }: ConfirmDialogProps) {
  const t = useT();
  const [text, setText] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);

  function close() {
    setText("");
    setProblem(null);
    onClose();
  }

  async function confirm(event: FormEvent) {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    try {
      await onConfirm();
      close();
    } catch (error) {
      setProblem(toProblem(error));
    } finally {
      setBusy(false);
    }
  }

  return (
    <Dialog open={open} onClose={close} title={title}>
      <form className="stack" onSubmit={confirm}>
        <div className="prose">{children}</div>
        {typed !== undefined && (
          <Field label={t("common.confirm_type", { name: typed })}>
            <Input value={text} onChange={(event) => setText(event.target.value)} autoComplete="off" spellCheck={false} />
          </Field>
        )}
        {problem && <ErrorState problem={problem} compact />}
        <DialogActions>
          <Button onClick={close}>{t("common.cancel")}</Button>
          <Button type="submit" kind={kind} busy={busy} disabled={typed !== undefined && text !== typed}>
            {action}
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}
