import type { TaskDetail } from "../../../api/types";
import { ModelLink } from "../../../components/ModelLink";
import { Fact } from "../../../components/Panel";
import { Elapsed, Money, Num, RelativeTime, Unknown } from "../../../components/Values";
import { useFormats } from "../../../i18n/format";
import { useT } from "../../../i18n/i18n";
import { totalsOf } from "./scores";

export function Facts({ task }: { task: TaskDetail }) {
  const t = useT();
  const formats = useFormats();
  const totals = totalsOf(task.decisions.flatMap((decision) => decision.calls));
  return (
    <section className="panel" aria-labelledby="facts-title">
      <h2 id="facts-title" className="panel-head">
        {t("task.facts")}
      </h2>
      <dl className="facts">
        <Fact name={t("tasks.agent")}>{task.agent}</Fact>
        <Fact name={t("tasks.model")}>{task.model ? <ModelLink name={task.model} /> : <Unknown />}</Fact>
        <Fact name={t("tasks.type")}>{task.task_type ?? <Unknown />}</Fact>
        <Fact name={t("task.attempts")}>{t("task.attempt_of", { attempt: task.attempts, most: task.max_attempts })}</Fact>
        <Fact name={t("tasks.duration")}>
          <Elapsed start={task.started_at} end={task.finished_at} />
        </Fact>
        <Fact name={t("task.cost")}>
          {totals.unknown > 0 && totals.cost !== null ? (
            t("task.cost_part", { sum: formats.money(totals.cost) })
          ) : (
            <Money usd={totals.cost} />
          )}
        </Fact>
        <Fact name={t("task.tokens")}>
          <Num value={totals.input} /> / <Num value={totals.output} />
        </Fact>
        <Fact name={t("task.lane")}>{task.lane}</Fact>
        <Fact name={t("task.priority")}>
          <Num value={task.priority} />
        </Fact>
        <Fact name={t("task.created")}>
          <RelativeTime at={task.created_at} />
        </Fact>
      </dl>
      <h3 className="facts-head">{t("task.checks")}</h3>
      <Checks checks={task.checks} />
    </section>
  );
}

function Checks({ checks }: { checks: TaskDetail["checks"] }) {
  const t = useT();
  const entries = Object.entries(checks);
  if (entries.length === 0) return <p className="muted small">{t("task.no_checks")}</p>;
  return (
    <dl className="checks">
      {entries.map(([name, value]) => (
        <div key={name}>
          <dt className="mono small muted">{name}</dt>
          <dd>
            <pre className="small">{typeof value === "string" ? value : JSON.stringify(value, null, 2)}</pre>
          </dd>
        </div>
      ))}
    </dl>
  );
}
