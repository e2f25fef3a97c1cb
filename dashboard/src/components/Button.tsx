import type { ButtonHTMLAttributes, ReactNode } from "react";
import "./Button.css";

export interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  kind?: "plain" | "primary" | "danger" | "quiet";
  size?: "normal" | "small";
  icon?: ReactNode;
  /** Shows a progress indicator and disables the button. */
  busy?: boolean;
}

export function Button({ kind = "plain", size = "normal", icon, busy, children, className, ...rest }: ButtonProps) {
  const classes = ["button", `button-${kind}`, size === "small" && "button-small", !children && "button-icon", className];
  return (
    <button
      type="button"
      {...rest}
      disabled={rest.disabled || busy}
      aria-busy={busy || undefined}
      className={classes.filter(Boolean).join(" ")}
    >
      {icon}
      {children}
    </button>
  );
}
