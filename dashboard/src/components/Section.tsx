import { useId, type ReactNode } from "react";
import "./Section.css";

export interface SectionProps {
  title: ReactNode;
  /** Fragment of the address that links to this section. */
  anchor?: string;
  detail?: ReactNode;
  /** Buttons beside the title. */
  actions?: ReactNode;
  children?: ReactNode;
}

/** A section of a page with an h2. */
export function Section({ title, anchor, detail, actions, children }: SectionProps) {
  const id = useId();
  return (
    <section id={anchor} className="section" aria-labelledby={id}>
      <header className="section-head">
        <div>
          <h2 id={id}>{title}</h2>
          {detail && <p className="muted section-detail">{detail}</p>}
        </div>
        {actions && <div className="row section-actions">{actions}</div>}
      </header>
      {children}
    </section>
  );
}
