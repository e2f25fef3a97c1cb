import { useQuery } from "@tanstack/react-query";
import { CircleCheck, CircleMinus, CircleSlash } from "lucide-react";
import { Badge } from "../../../components/Badge";
import { Bars } from "../../../components/Charts";
import { Loaded } from "../../../components/Loaded";
import { ModelLink } from "../../../components/ModelLink";
import { Panel } from "../../../components/Panel";
import { Duration, Money } from "../../../components/Values";
import { useFormats } from "../../../i18n/format";
import { useT } from "../../../i18n/i18n";
import { TERMS, type Term } from "../../tasks/detail/scores";
import { Fact } from "../Catalogue";
import { routingQuery, type PreviewedScoreOut, type TaskTypeRoutingOut } from "./queries";
import { outcomeOf, reasonOf } from "./reasons";

/** For each task type, the decision that the router would make now, as seen by this model. */
export function ModelRouting({ name, days }: { name: string; days: number }) {
  const t = useT();
  const query = useQuery(routingQuery(name, days));
  return (
    <Panel title={t("model.routing")}>
      <p className="muted">{t("model.routing_detail")}</p>
      <Loaded query={query}>
        {(items) => (
          <div className="model-routing">
            {items.map((item, index) => (
              <TaskType key={item.task_type} routing={item} open={index === 0} />
            ))}
          </div>
        )}
      </Loaded>
    </Panel>
  );
}

function TaskType({ routing, open }: { routing: TaskTypeRoutingOut; open: boolean }) {
  const t = useT();
  const formats = useFormats();
  const { task_type: type, share, own, rival, exclusion } = routing;
  return (
    <details open={open} className="model-type">
      <summary>
        <strong>{type}</strong> <OutcomeBadge routing={routing} /> <span>{reasonOf(routing)}</span>{" "}
        <span className="muted small">{share === null ? t("model.no_share") : t("model.share_of", { share: formats.percent(share) })}</span>
      </summary>
      <div className="stack fold">
        {exclusion?.detail && <p className="muted model-detail">{exclusion.detail}</p>}
        {own && <Scores routing={routing} />}
        {own && <ScoreFacts score={own} />}
        {!own && rival && (
          <p>
            {t("model.chosen")}: <ModelLink name={rival.model} />
          </p>
        )}
      </div>
    </details>
  );
}

function OutcomeBadge({ routing }: { routing: TaskTypeRoutingOut }) {
  const t = useT();
  const outcome = outcomeOf(routing);
  if (outcome === "chosen") return <Badge tone="good" icon={<CircleCheck aria-hidden />}>{t("model.chosen")}</Badge>;
  if (outcome === "excluded") return <Badge tone="warn" icon={<CircleSlash aria-hidden />}>{t("model.excluded")}</Badge>;
  return <Badge icon={<CircleMinus aria-hidden />}>{t("model.not_chosen")}</Badge>;
}

/** The weighted terms of the model and of its rival, on one scale. */
function Scores({ routing: { task_type: type, own, rival, chosen } }: { routing: TaskTypeRoutingOut }) {
  const t = useT();
  const lines = [own, rival].filter((score) => score !== null).map((score) => ({
    key: score.model,
    name: <ModelLink name={score.model} />,
    terms: TERMS.map((name) => ({ name, value: score.terms[name] ?? 0 })).filter(({ value }) => Math.abs(value) > 1e-9),
    total: score.utility,
    marked: score.model === chosen,
  }));
  const order = TERMS.filter((term) => lines.some((line) => line.terms.some(({ name }) => name === term)));
  return <Bars lines={lines} order={order} termLabel={(name) => t(`why.${name as Term}`)} label={t("model.bars", { type })} />;
}

function ScoreFacts({ score }: { score: PreviewedScoreOut }) {
  const t = useT();
  const formats = useFormats();
  const quality = { quality: formats.number(score.mu, 2), interval: formats.number(score.interval, 2) };
  return (
    <dl className="model-facts">
      <Fact name={t("why.quality")}>
        {t("model.interval", quality)}{" "}
        <span className="muted small">{t("model.measured_with", { count: Math.round(score.n) })}</span>
      </Fact>
      <Fact name={t("why.expected_cost")}>
        {score.expected_cost === null ? <span className="muted">{t("why.price_unknown")}</span> : <Money usd={score.expected_cost} />}
      </Fact>
      <Fact name={t("why.expected_time")}>
        {score.expected_latency_s === null ? <span className="muted">{t("why.unmeasured")}</span> : <Duration seconds={score.expected_latency_s} />}
      </Fact>
    </dl>
  );
}
