import { CircleAlert } from "lucide-react";
import { toProblem, UNREACHABLE } from "../api/problem";
import { useT, type MessageKey } from "../i18n/i18n";
import { Button } from "./Button";
import "./States.css";

/** Problems for which the dashboard has its own, translated text. */
const TRANSLATED: Partial<Record<string, { title: MessageKey; detail: MessageKey }>> = {
  [UNREACHABLE]: { title: "error.unreachable", detail: "error.unreachable_detail" },
  weak_password: { title: "error.weak_password", detail: "error.weak_password_detail" },
  not_utf8: { title: "error.not_utf8", detail: "error.not_utf8_detail" },
  hashing_busy: { title: "error.busy", detail: "error.busy_detail" },
};

export interface ErrorStateProps {
  /** The thrown value. */
  problem: unknown;
  onRetry?: () => void;
  /** For display beside a form instead of in place of a page. */
  compact?: boolean;
}

/** Shows the cause and the remedy, with the API's text where it responded. */
export function ErrorState({ problem: thrown, onRetry, compact }: ErrorStateProps) {
  const t = useT();
  const problem = toProblem(thrown);
  const own = TRANSLATED[problem.code];
  return (
    <div role="alert" className={compact ? "state state-error state-compact" : "state state-error"}>
      <CircleAlert aria-hidden />
      <div className="state-text">
        <strong>{own ? t(own.title) : problem.title}</strong>
        <p>{own ? t(own.detail) : problem.detail}</p>
        {problem.errors.length > 0 && (
          <ul className="state-list">
            {problem.errors.map((error) => (
              <li key={error.pointer}>
                <code>{error.pointer}</code> {error.detail}
              </li>
            ))}
          </ul>
        )}
        {problem.retryAfter !== null && <p>{t("error.retry_after", { count: problem.retryAfter })}</p>}
        {onRetry && (
          <Button size="small" onClick={onRetry}>
            {t("common.retry")}
          </Button>
        )}
      </div>
    </div>
  );
}
