import { useRef, type ReactNode } from "react";
import { useT } from "../i18n/i18n";
import { Button } from "./Button";
import { Dialog, DialogActions } from "./Dialog";
import { Field, Input } from "./Field";
import { CopyButton } from "./Values";
import "./SecretDialog.css";

export interface SecretDialogProps {
  title: string;
  /** Label of the secret. */
  label: string;
  secret: string;
  /** The recipient of the secret and its validity. */
  children?: ReactNode;
  onClose: () => void;
}

/** Shows a secret that Kairos displays once and does not store. */
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
