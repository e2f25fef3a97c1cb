import "./Switch.css";

export interface SwitchProps {
  label: string;
  checked: boolean;
  onChange: (checked: boolean) => void;
  disabled?: boolean;
  /** The reason why the switch is disabled. */
  reason?: string | undefined;
}

export function Switch({ label, checked, onChange, disabled, reason }: SwitchProps) {
  return (
    <button
      type="button"
      role="switch"
      className="switch"
      aria-checked={checked}
      aria-label={reason ? `${label}. ${reason}` : label}
      title={reason}
      disabled={disabled}
      onClick={() => onChange(!checked)}
    >
      <span className="switch-knob" />
    </button>
  );
}
