import { useEffect, useId, useRef, type ReactNode } from "react";

export interface StepProps {
  number: number;
  title: string;
  /** Whether this is the step that the user has reached last: its heading then receives the focus. */
  current: boolean;
  aside?: ReactNode;
  children: ReactNode;
}

/** A step of a form on one page. */
export function Step({ number, title, current, aside, children }: StepProps) {
  const id = useId();
  const heading = useRef<HTMLHeadingElement>(null);
  const first = useRef(true);
  useEffect(() => {
    // The first step does not take the focus from the page when it opens.
    if (current && !(first.current && number === 1)) {
      heading.current?.focus({ preventScroll: true });
      heading.current?.scrollIntoView({ block: "start", behavior: "smooth" });
    }
    first.current = false;
  }, [current, number]);
  return (
    <section className="step" aria-labelledby={id} aria-current={current ? "step" : undefined}>
      <div className="spread">
        <h2 id={id} ref={heading} tabIndex={-1} className="step-title">
          <span className="step-number" aria-hidden>
            {number}
          </span>
          {title}
        </h2>
        {aside}
      </div>
      {children}
    </section>
  );
}
