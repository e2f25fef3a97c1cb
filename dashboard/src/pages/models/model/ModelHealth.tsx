import { useQuery } from "@tanstack/react-query";
import type { ModelOut } from "../../../api/types";
import { StackedBand } from "../../../components/Charts";
import { EmptyState } from "../../../components/EmptyState";
import { Loaded } from "../../../components/Loaded";
import { Panel } from "../../../components/Panel";
import { Skeleton } from "../../../components/Skeleton";
import { Duration, Money, Num, Percent } from "../../../components/Values";
import { useFormats } from "../../../i18n/format";
import { translate, useT, type MessageKey } from "../../../i18n/i18n";
import { en } from "../../../messages/en";
import { Fact, TryAgain } from "../Catalogue";
import { callColumns, failed, sums } from "./history";
import { historyQuery, type History, type PeriodOut } from "./queries";

/** The state of the circuit breaker now, and the calls of each period with the reasons of failures. */
export function ModelHealth({ model, days }: { model: ModelOut; days: number }) {
  const t = useT();
  const query = useQuery(historyQuery(model.name, days));
  return (
    <Panel title={t("model.health")}>
      <p>
        <Breaker model={model} />
        {model.health_detail && <span className="muted model-detail"> {model.health_detail}</span>}
      </p>
      <TryAgain model={model} />
      <Loaded query={query} skeleton={<Skeleton height={200} />}>
        {(history) =>
          history.items.some((period) => period.calls > 0) ? (
            <Calls history={history} />
          ) : (
            <EmptyState title={t("model.no_calls")}>{t("model.no_calls_detail")}</EmptyState>
          )
        }
      </Loaded>
    </Panel>
  );
}

function Breaker({ model: { breaker, retry_at: at } }: { model: ModelOut }) {
  const t = useT();
  const formats = useFormats();
  return <>{t(`model.breaker_${breaker}`, { when: at ? formats.time(at) : "–" })}</>;
}

function Calls({ history: { items, step } }: { history: History }) {
  const t = useT();
  const formats = useFormats();
  const { calls, failures, cost } = sums(items);
  const { names, columns } = callColumns(items, t("model.succeeded"), t("model.rest"), errorName);
  const title = step === "hour" ? formats.hour : formats.day;
  return (
    <>
      <dl className="model-facts">
        <Fact name={t("models.calls")}>
          <Num value={calls} />
        </Fact>
        <Fact name={t("model.failed")}>
          <Num value={failures} /> {failures > 0 && <span className="muted">(<Percent share={failures / calls} digits={1} />)</span>}
        </Fact>
        <Fact name={t("models.cost")}>
          <Money usd={cost} />
        </Fact>
      </dl>
      <StackedBand
        label={t("model.chart", { succeeded: calls - failures, failed: failures })}
        columns={columns.map(({ at, values }) => ({ key: at, title: title(at), values }))}
        names={names}
        shares={false}
      />
      <details>
        <summary>{t("models.numbers")}</summary>
        <Numbers periods={items} title={title} />
      </details>
    </>
  );
}

/** The known error codes have a name; others, such as those of plugins, are shown as they are. */
function errorName(code: string): string {
  const key = `model.error_${code}`;
  return key in en ? translate(key as MessageKey) : code;
}

function Numbers({ periods, title }: { periods: readonly PeriodOut[]; title: (at: string) => string }) {
  const t = useT();
  const used = periods.filter((period) => period.calls > 0).reverse();
  return (
    <div className="plain-box" tabIndex={0} role="region" aria-label={t("models.numbers")}>
      <table className="plain">
        <thead>
          <tr>
            <th scope="col">{t("model.period")}</th>
            <th scope="col" className="table-end">{t("models.calls")}</th>
            <th scope="col">{t("model.failed")}</th>
            <th scope="col" className="table-end">{t("model.median_time")}</th>
            <th scope="col" className="table-end">{t("model.mean_time")}</th>
            <th scope="col" className="table-end">{t("model.median_first")}</th>
            <th scope="col" className="table-end">{t("models.tokens")}</th>
            <th scope="col" className="table-end">{t("models.cost")}</th>
          </tr>
        </thead>
        <tbody>
          {used.map((period) => (
            <tr key={period.at}>
              <th scope="row">{title(period.at)}</th>
              <td className="table-end"><Num value={period.calls} /></td>
              <td><Failures period={period} /></td>
              <td className="table-end"><Duration seconds={period.median_duration_s} /></td>
              <td className="table-end"><Duration seconds={period.duration_s} /></td>
              <td className="table-end"><Duration seconds={period.median_first_token_s} /></td>
              <td className="table-end"><Num value={period.input_tokens} /> / <Num value={period.output_tokens} /></td>
              <td className="table-end"><Money usd={period.cost_usd} /></td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Failures({ period }: { period: PeriodOut }) {
  const formats = useFormats();
  if (failed(period) === 0) return <Num value={0} />;
  const parts = Object.entries(period.failures).map(([code, calls]) => `${errorName(code)} ${formats.number(calls)}`);
  return <>{parts.join(", ")}</>;
}
