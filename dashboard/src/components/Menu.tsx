import { Menu as Base } from "@base-ui/react/menu";
import { Check } from "lucide-react";
import type { ReactElement, ReactNode, RefObject } from "react";
import "./Menu.css";

export interface MenuProps {
  /** A Button. */
  trigger: ReactElement;
  /** MenuItem, MenuRadio, MenuLabel and MenuLine. */
  children: ReactNode;
  align?: "start" | "end";
  /** The landmark that contains the menu; default: the end of the body, outside all landmarks. */
  container?: RefObject<HTMLElement | null>;
}

export function Menu({ trigger, children, align = "start", container }: MenuProps) {
  return (
    <Base.Root>
      <Base.Trigger render={trigger as ReactElement<Record<string, unknown>>} />
      <Base.Portal container={container}>
        <Base.Positioner className="menu-place" sideOffset={4} align={align}>
          <Base.Popup className="menu">{children}</Base.Popup>
        </Base.Positioner>
      </Base.Portal>
    </Base.Root>
  );
}

export interface MenuItemProps {
  children: ReactNode;
  icon?: ReactNode;
  onSelect: () => void;
  danger?: boolean;
  disabled?: boolean;
}

export function MenuItem({ children, icon, onSelect, danger, disabled }: MenuItemProps) {
  return (
    <Base.Item className={danger ? "menu-item menu-danger" : "menu-item"} onClick={onSelect} disabled={disabled}>
      <span className="menu-mark">{icon}</span>
      {children}
    </Base.Item>
  );
}

export interface MenuRadioProps<T extends string> {
  label: string;
  value: T | undefined;
  onChange: (value: T) => void;
  options: { value: T; label: ReactNode; icon?: ReactNode }[];
}

export function MenuRadio<T extends string>({ label, value, onChange, options }: MenuRadioProps<T>) {
  return (
    <Base.RadioGroup value={value} onValueChange={(next) => onChange(next as T)} aria-label={label}>
      <div className="menu-label" aria-hidden>
        {label}
      </div>
      {options.map((option) => (
        <Base.RadioItem key={option.value} value={option.value} className="menu-item" closeOnClick>
          <span className="menu-mark">
            <Base.RadioItemIndicator>
              <Check aria-hidden />
            </Base.RadioItemIndicator>
          </span>
          {option.icon}
          {option.label}
        </Base.RadioItem>
      ))}
    </Base.RadioGroup>
  );
}

export function MenuLabel({ children }: { children: ReactNode }) {
  return <div className="menu-label">{children}</div>;
}

export function MenuLine() {
  return <Base.Separator className="menu-line" />;
}
