import { Dialog as Base } from "@base-ui/react/dialog";
import { X } from "lucide-react";
import type { ReactNode, RefObject } from "react";
import { useT } from "../i18n/i18n";
import { Button } from "./Button";
import "./Dialog.css";

export interface DialogProps {
  open: boolean;
  onClose: () => void;
  title: ReactNode;
  children: ReactNode;
  width?: "narrow" | "wide";
  /** Element that receives the focus first; default: the first focusable one. */
  initialFocus?: RefObject<HTMLElement | null>;
}

export function Dialog({ open, onClose, title, children, width = "narrow", initialFocus }: DialogProps) {
  const t = useT();
  return (
    <Base.Root open={open} onOpenChange={(next) => !next && onClose()}>
      <Base.Portal>
        <Base.Backdrop className="dialog-backdrop" />
        <Base.Popup className={`dialog dialog-${width}`} initialFocus={initialFocus}>
          <div className="spread dialog-head">
            <Base.Title className="dialog-title">{title}</Base.Title>
            <Base.Close render={<Button kind="quiet" icon={<X aria-hidden />} aria-label={t("common.close")} />} />
          </div>
          <div className="dialog-body">{children}</div>
        </Base.Popup>
      </Base.Portal>
    </Base.Root>
  );
}

/** The buttons at the end of a dialog. */
export function DialogActions({ children }: { children: ReactNode }) {
  return <div className="dialog-actions">{children}</div>;
}
