import type { TaskDetail, VerdictOut } from "../../../api/types";
import { VerdictBadge } from "../../../components/Badge";
import { RelativeTime } from "../../../components/Values";
import { useFormats } from "../../../i18n/format";
import { useT } from "../../../i18n/i18n";
import { AnswerText } from "./AnswerText";

/** The guardian's verdict on the answer; findings are shown on the lines of the answer. */
export function Verdicts({ task }: { task: TaskDetail }) {
  const t = useT();
  const last = task.verdicts.at(-1);
  const older = task.verdicts.slice(0, -1).reverse();
  return (
    <section className="panel" aria-labelledby="verdict-title">
      <div className="spread panel-head">
        <h2 id="verdict-title">{t("verdict.title")}</h2>
        <VerdictBadge approved={last?.approved} />
      </div>
      {last && <Summary verdict={last} />}
      {last && <Reasoning verdict={last} />}
      {older.length > 0 && (
        <details>
          <summary>{t("verdict.older", { count: older.length })}</summary>
          <div className="stack fold">
            {older.map((verdict) => (
              <details key={`${verdict.attempt} ${verdict.draft}`} className="older">
                <summary>
                  {t("verdict.draft", { attempt: verdict.attempt, draft: verdict.draft })}{" "}
                  <VerdictBadge approved={verdict.approved} />{" "}
                  <span className="muted small"><RelativeTime at={verdict.at} /></span>
                </summary>
                <Summary verdict={verdict} />
                <Reasoning verdict={verdict} />
                <AnswerText text={verdict.output} findings={verdict.findings} />
              </details>
            ))}
          </div>
        </details>
      )}
    </section>
  );
}

/** The model's reasoning before its answer, collapsed. It is not checked. */
function Reasoning({ verdict: { reasoning } }: { verdict: VerdictOut }) {
  const t = useT();
  if (!reasoning) return null;
  return (
    <details>
      <summary>{t("verdict.reasoning")}</summary>
      <pre className="small fold" tabIndex={0}>
        {reasoning}
      </pre>
    </details>
  );
}

function Summary({ verdict: { score, checks, findings } }: { verdict: VerdictOut }) {
  const t = useT();
  const formats = useFormats();
  return (
    <p className="muted small">
      {score === null ? t("verdict.unmeasured") : t("verdict.score", { score: formats.number(score, 2) })}
      {" · "}
      {checks.length > 0 ? t("verdict.passed", { checks: checks.join(", ") }) : t("verdict.no_checks")}
      {findings.length === 0 && ` · ${t("verdict.no_findings")}`}
    </p>
  );
}
