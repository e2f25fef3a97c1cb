import { CircleAlert } from "lucide-react";
import type { ReactNode } from "react";
import type { ServerProblemOut } from "../../../api/types";
import { useT } from "../../../i18n/i18n";
import "../../../components/States.css";

/** Why a server cannot be used, with the remedy. The details are the daemon's text. */
export function ServerProblem({ problem, children }: { problem: ServerProblemOut; children?: ReactNode }) {
  const t = useT();
  return (
    <div role="alert" className="state state-error">
      <CircleAlert aria-hidden />
      <div className="state-text">
        <strong>{t(`providers.problem_${problem.kind}`)}</strong>
        <p>{sentence(problem.cause)}</p>
        <p>{sentence(problem.remedy)}</p>
        {children}
      </div>
    </div>
  );
}

function sentence(text: string): string {
  const capital = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?`]$/.test(capital) ? capital : `${capital}.`;
}
