import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { modelsQuery } from "../../../api/queries";
import type { ModelOut } from "../../../api/types";
import { EmptyState } from "../../../components/EmptyState";
import { Select } from "../../../components/Field";
import { Loaded } from "../../../components/Loaded";
import { PageHeader } from "../../../components/PageHeader";
import { Panel } from "../../../components/Panel";
import { SkeletonRows } from "../../../components/Skeleton";
import { useT } from "../../../i18n/i18n";
import { Health } from "../Catalogue";
import { TryModel } from "../TryModel";
import { Capabilities, Limits } from "./ModelFacts";
import { ModelFamily } from "./ModelFamily";
import { ModelHealth } from "./ModelHealth";
import { ModelResults } from "./ModelResults";
import { ModelRouting } from "./ModelRouting";
import { Origin } from "./Origin";
import "../models.css";
import "./model.css";

const route = getRouteApi("/app/models/details");
/** Days of the figures. One day is divided into hours. */
const SPANS = [1, 7, 30, 90];

/** One model: what it can do, its health, and what the router does with it and why. */
export function ModelPage() {
  const { name } = route.useSearch();
  // From the list, which also has its adapters. Circuit breakers open and close without an event.
  const query = useQuery({ ...modelsQuery(), refetchInterval: 15_000 });
  const model = query.data?.find((one) => one.name === name);
  if (query.data && !model) return <Gone name={name} />;
  return (
    <>
      <PageHeader title={name} detail={model && <Summary model={model} />}>
        <Span />
      </PageHeader>
      <Loaded query={query} skeleton={<SkeletonRows rows={12} />}>
        {(models) => model && <Body key={name} model={model} models={models} />}
      </Loaded>
    </>
  );
}

function Gone({ name }: { name: string }) {
  const t = useT();
  return (
    <>
      <PageHeader title={t("model.title")} />
      <EmptyState title={t("model.gone", { name })} action={<Link to="/models">{t("model.all")}</Link>}>
        {t("model.gone_detail")}
      </EmptyState>
    </>
  );
}

function Summary({ model }: { model: ModelOut }) {
  return (
    <span className="row model-summary">
      <Health state={model.health} />
      <Origin model={model} />
    </span>
  );
}

function useDays(): number {
  const { days } = route.useSearch();
  return SPANS.includes(Number(days)) ? Number(days) : 30;
}

function Span() {
  const t = useT();
  const navigate = route.useNavigate();
  const days = useDays();
  return (
    <Select
      aria-label={t("models.span")}
      value={days}
      onChange={({ target }) =>
        void navigate({ search: (search) => ({ ...search, days: target.value }), replace: true, resetScroll: false })
      }
    >
      {SPANS.map((span) => (
        <option key={span} value={span}>
          {t("models.last_days", { count: span })}
        </option>
      ))}
    </Select>
  );
}

function Body({ model, models }: { model: ModelOut; models: ModelOut[] }) {
  const t = useT();
  const days = useDays();
  return (
    <div className="model-columns">
      <div className="stack model-side">
        <Capabilities model={model} />
        <Limits model={model} />
        <ModelFamily model={model} models={models} />
      </div>
      <div className="stack model-main">
        <ModelHealth model={model} days={days} />
        <ModelRouting name={model.name} days={days} />
        <ModelResults name={model.name} days={days} />
        <Panel title={t("model.try")}>
          <TryModel model={model.name} />
        </Panel>
      </div>
    </div>
  );
}
