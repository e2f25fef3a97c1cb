import { useRef, type ReactNode } from "react";
import { useT } from "../i18n/i18n";
import { Button } from "./Button";
import { Dialog, DialogActions } from "./Dialog";
import { Field, Input } from "./Field";
import { CopyButton } from "./Values";
import "./SecretDialog.css";

export interface SecretDialogProps {
  title: string;
  /** What the secret is called. */
  label: string;
  secret: string;
  /** For whom it is, and how long it is good. */
  children?: ReactNode;
  onClose: () => void;
}

/** Shows what Kairos gives out once and does not keep. */
export function SecretDialog({ title, label, secret, children, onClose }: SecretDialogProps) {
  const t = useT();
  const field = useRef<HTMLInputElement>(null);
  return (
    <Dialog open onClose={onClose} title={title} width="wide" initialFocus={field}>
      {children && <div className="prose">{children}</div>}
      <Field label={label} hint={t("common.shown_once")}>
        <div className="secret">
          <Input
            ref={field}
            readOnly
            value={secret}
            className="mono"
            spellCheck={false}
            onFocus={(event) => event.currentTarget.select()}
          />
          <CopyButton text={secret} />
        </div>
      </Field>
      <DialogActions>
        <Button kind="primary" onClick={onClose}>
          {t("common.done")}
        </Button>
      </DialogActions>
    </Dialog>
  );
}
