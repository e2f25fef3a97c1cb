/** List filters, whose values are kept in the address by the pages. */
import { X } from "lucide-react";
import type { ReactNode } from "react";
import { useT } from "../i18n/i18n";
import { Button } from "./Button";
import { Select } from "./Field";
import "./Filters.css";

export interface TogglesProps<T extends string> {
  label: string;
  options: readonly T[];
  chosen: readonly T[];
  name: (option: T) => ReactNode;
  /** Called with the chosen values in the order of the options; undefined when none is chosen. */
  onChange: (chosen: T[] | undefined) => void;
}

export function Toggles<T extends string>({ label, options, chosen, name, onChange }: TogglesProps<T>) {
  return (
    <div className="toggles" role="group" aria-label={label}>
      {options.map((option) => {
        const on = chosen.includes(option);
        const next = options.filter((one) => (one === option ? !on : chosen.includes(one)));
        return (
          <button
            key={option}
            type="button"
            className="toggle"
            aria-pressed={on}
            onClick={() => onChange(next.length > 0 ? next : undefined)}
          >
            {name(option)}
          </button>
        );
      })}
    </div>
  );
}

export interface ChoiceProps {
  label: string;
  value: string | undefined;
  options: readonly string[];
  onChange: (value: string | undefined) => void;
}

/** A value in the address that is not (or no longer) an option is still shown, because it filters. */
export function Choice({ label, value, options, onChange }: ChoiceProps) {
  const all = value && !options.includes(value) ? [value, ...options] : options;
  return (
    <Select aria-label={label} value={value ?? ""} onChange={(event) => onChange(event.target.value || undefined)}>
      <option value="">{label}</option>
      {all.map((option) => (
        <option key={option}>{option}</option>
      ))}
    </Select>
  );
}

/** A filter without a control of its own. It can only be removed. */
export function Chip({ children, onRemove }: { children: ReactNode; onRemove: () => void }) {
  const t = useT();
  return (
    <span className="chip">
      <span className="truncate">{children}</span>
      <Button kind="quiet" size="small" icon={<X aria-hidden />} aria-label={t("tasks.remove_filter")} onClick={onRemove} />
    </span>
  );
}
