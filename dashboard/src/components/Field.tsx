import {
  createContext,
  useContext,
  useId,
  type InputHTMLAttributes,
  type ReactNode,
  type SelectHTMLAttributes,
  type TextareaHTMLAttributes,
} from "react";
import { useT } from "../i18n/i18n";
import "./Field.css";

interface Wiring {
  id?: string;
  "aria-describedby"?: string;
  "aria-invalid"?: true;
}

const FieldContext = createContext<Wiring>({});

export interface FieldProps {
  label: ReactNode;
  hint?: ReactNode;
  error?: ReactNode;
  optional?: boolean;
  children: ReactNode;
}

/** Binds label, hint and error to the contained Input, Select or Textarea. */
export function Field({ label, hint, error, optional, children }: FieldProps) {
  const t = useT();
  const id = useId();
  const wiring: Wiring = { id };
  if (hint || error) wiring["aria-describedby"] = `${id}-hint`;
  if (error) wiring["aria-invalid"] = true;
  return (
    <div className="field">
      <label htmlFor={id} className="field-label">
        {label}
        {optional && <span className="muted"> ({t("common.optional")})</span>}
      </label>
      <FieldContext value={wiring}>{children}</FieldContext>
      {(error || hint) && (
        <div id={`${id}-hint`} className={error ? "field-error" : "field-hint"}>
          {error || hint}
        </div>
      )}
    </div>
  );
}

export function Input({ className = "", ...rest }: InputHTMLAttributes<HTMLInputElement> & { ref?: React.Ref<HTMLInputElement> }) {
  return <input {...useContext(FieldContext)} {...rest} className={`input ${className}`} />;
}

export function Select({ className = "", ...rest }: SelectHTMLAttributes<HTMLSelectElement>) {
  return <select {...useContext(FieldContext)} {...rest} className={`input select ${className}`} />;
}

export function Textarea({ className = "", ...rest }: TextareaHTMLAttributes<HTMLTextAreaElement> & { ref?: React.Ref<HTMLTextAreaElement> }) {
  return <textarea {...useContext(FieldContext)} {...rest} className={`input textarea ${className}`} />;
}

/** A checkbox with its label. */
export function Checkbox({ label, ...rest }: InputHTMLAttributes<HTMLInputElement> & { label: ReactNode }) {
  return (
    <label className="checkbox">
      <input {...rest} type="checkbox" />
      <span>{label}</span>
    </label>
  );
}
