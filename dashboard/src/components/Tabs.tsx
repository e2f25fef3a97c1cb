import { Tabs as Base } from "@base-ui/react/tabs";
import { useLocation } from "@tanstack/react-router";
import { Children, useEffect, useRef, type ReactNode } from "react";
import "./Tabs.css";

export interface TabsProps<T extends string> {
  label: string;
  value: T;
  onChange: (value: T) => void;
  tabs: { value: T; label: ReactNode; panel: ReactNode }[];
}

/** Tabs within a page. Use `TabLinks` where each tab has its own address. */
export function Tabs<T extends string>({ label, value, onChange, tabs }: TabsProps<T>) {
  return (
    <Base.Root value={value} onValueChange={(next) => onChange(next as T)}>
      <Base.List className="tabs" aria-label={label}>
        {tabs.map((tab) => (
          <Base.Tab key={tab.value} value={tab.value} className="tab">
            {tab.label}
          </Base.Tab>
        ))}
      </Base.List>
      {tabs.map((tab) => (
        <Base.Panel key={tab.value} value={tab.value} className="tab-panel">
          {tab.panel}
        </Base.Panel>
      ))}
    </Base.Root>
  );
}

/** A row of links styled as tabs; the children are router links. */
export function TabLinks({ label, children }: { label: string; children: ReactNode }) {
  const bar = useRef<HTMLElement>(null);
  const path = useLocation({ select: (location) => location.pathname });
  const amount = Children.count(children);
  // On narrow screens, the active tab may lie outside the visible part.
  useEffect(() => {
    const used = bar.current?.querySelector("[aria-current=page]");
    if (!bar.current || !used) return;
    const beyond = used.getBoundingClientRect().right - bar.current.getBoundingClientRect().right;
    if (beyond > 0) bar.current.scrollLeft += beyond;
  }, [path, amount]);
  return (
    <nav className="tabs" aria-label={label} ref={bar}>
      {children}
    </nav>
  );
}
