import type { ReactNode } from "react";
import "./States.css";

/** Describes the missing content and offers the first step. */
export function EmptyState({ title, children, action }: { title: ReactNode; children?: ReactNode; action?: ReactNode }) {
  return (
    <div className="state">
      <div className="state-text">
        <strong>{title}</strong>
        {children && <p className="muted">{children}</p>}
        {action}
      </div>
    </div>
  );
}
