import { useEffect, type ReactNode } from "react";
import "./PageHeader.css";

/** The page's only h1; also sets the title of the browser tab. */
export function PageHeader({ title, children, detail }: { title: string; children?: ReactNode; detail?: ReactNode }) {
  useEffect(() => {
    document.title = `${title} · Kairos`;
  }, [title]);
  return (
    <header className="page-header">
      <div>
        <h1>{title}</h1>
        {detail && <div className="muted">{detail}</div>}
      </div>
      {children && <div className="row page-actions">{children}</div>}
    </header>
  );
}
