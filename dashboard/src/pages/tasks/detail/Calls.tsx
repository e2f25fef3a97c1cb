import { CircleCheck, CircleX } from "lucide-react";
import type { DecisionOut } from "../../../api/types";
import { Badge } from "../../../components/Badge";
import { ModelLink } from "../../../components/ModelLink";
import { Duration, Money, Num } from "../../../components/Values";
import { useT } from "../../../i18n/i18n";
import { totalsOf } from "./scores";

export function Calls({ decisions }: { decisions: readonly DecisionOut[] }) {
  const t = useT();
  const calls = decisions.flatMap((decision) => decision.calls);
  const totals = totalsOf(calls);
  return (
    <section className="panel" aria-labelledby="calls-title">
      <h2 id="calls-title" className="panel-head">
        {t("calls.title")}
      </h2>
      {calls.length === 0 ? (
        <p className="muted">{t("calls.none")}</p>
      ) : (
        <div className="plain-box" tabIndex={0} role="region" aria-labelledby="calls-title">
          <table className="plain">
            <thead>
              <tr>
                <th scope="col">{t("tasks.model")}</th>
                <th scope="col">{t("calls.result")}</th>
                <th scope="col" className="table-end">{t("calls.first_token")}</th>
                <th scope="col" className="table-end">{t("calls.duration")}</th>
                <th scope="col" className="table-end">{t("calls.input")}</th>
                <th scope="col" className="table-end">{t("calls.output")}</th>
                <th scope="col" className="table-end">{t("tasks.cost")}</th>
              </tr>
            </thead>
            <tbody>
              {calls.map((call, index) => (
                <tr key={index}>
                  <th scope="row">
                    <ModelLink name={call.model} />
                  </th>
                  <td>
                    <Badge tone={call.success ? "good" : "bad"} icon={call.success ? <CircleCheck aria-hidden /> : <CircleX aria-hidden />}>
                      {call.success ? t("calls.ok") : (call.error ?? t("common.unknown"))}
                    </Badge>
                  </td>
                  <td className="table-end"><Duration seconds={call.first_token_s} /></td>
                  <td className="table-end"><Duration seconds={call.duration_s} /></td>
                  <td className="table-end"><Num value={call.input_tokens} /></td>
                  <td className="table-end"><Num value={call.output_tokens} /></td>
                  <td className="table-end"><Money usd={call.cost_usd} /></td>
                </tr>
              ))}
            </tbody>
            {calls.length > 1 && (
              <tfoot>
                <tr>
                  <th scope="row" colSpan={4}>{t("calls.sum")}</th>
                  <td className="table-end"><Num value={totals.input} /></td>
                  <td className="table-end"><Num value={totals.output} /></td>
                  <td className="table-end"><Money usd={totals.cost} /></td>
                </tr>
              </tfoot>
            )}
          </table>
        </div>
      )}
    </section>
  );
}
