import { CircleAlert } from "lucide-react";
import { toProblem, UNREACHABLE } from "../api/problem";
import { useT } from "../i18n/i18n";
import { Button } from "./Button";
import "./States.css";

export interface ErrorStateProps {
  /** Whatever was thrown. */
  problem: unknown;
  onRetry?: () => void;
  /** Beside a form rather than in place of a page. */
  compact?: boolean;
}

/** What happened and what to do, in the API's own words where it answered. */
export function ErrorState({ problem: thrown, onRetry, compact }: ErrorStateProps) {
  const t = useT();
  const problem = toProblem(thrown);
  const away = problem.code === UNREACHABLE;
  return (
    <div role="alert" className={compact ? "state state-error state-compact" : "state state-error"}>
      <CircleAlert aria-hidden />
      <div className="state-words">
        <strong>{away ? t("error.unreachable") : problem.title}</strong>
        <p>{away ? t("error.unreachable_detail") : problem.detail}</p>
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
