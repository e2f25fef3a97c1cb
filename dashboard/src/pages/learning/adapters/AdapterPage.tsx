import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import type { AdapterDetail } from "../../../api/learning";
import { toProblem } from "../../../api/problem";
import { ErrorState } from "../../../components/ErrorState";
import { Panel } from "../../../components/Panel";
import { SkeletonRows } from "../../../components/Skeleton";
import { Id } from "../../../components/Values";
import { useT } from "../../../i18n/i18n";
import { LearningFrame } from "../LearningFrame";
import { adapterQuery } from "../queries";
import { AdapterActions } from "./AdapterActions";
import { AdapterBadge } from "./AdapterBadge";
import { AdapterFacts, Lineage, Manifest } from "./AdapterSide";
import { Pairs } from "./Pairs";
import { ReportFigures } from "./Report";

const route = getRouteApi("/app/learning/adapters/$adapterId");

/** The result of a training run: the evaluation, the samples used, and the state in service. */
export function AdapterPage() {
  const t = useT();
  const { adapterId } = route.useParams();
  const query = useQuery(adapterQuery(adapterId));
  const { data: adapter, error } = query;
  const gone = error && toProblem(error).status === 404;
  const detail = (
    <span className="row">
      {adapter && <AdapterBadge state={adapter.state} />}
      <Id id={adapterId} />
    </span>
  );
  return (
    <LearningFrame title={adapter?.name ?? t("adapter.title")} detail={detail} actions={adapter && <AdapterActions adapter={adapter} />}>
      {error && <ErrorState problem={error} compact={adapter !== undefined} {...(!gone && { onRetry: () => void query.refetch() })} />}
      {gone && <Link to="/learning">{t("adapter.all")}</Link>}
      {adapter ? <Body adapter={adapter} /> : query.isPending && <SkeletonRows rows={10} />}
    </LearningFrame>
  );
}

function Body({ adapter }: { adapter: AdapterDetail }) {
  const t = useT();
  const { part = "held_out", pairs } = route.useSearch();
  const navigate = route.useNavigate();
  const { report } = adapter;
  return (
    <div className="labelling">
      <div className="stack labelling-main">
        <Panel title={t("report.title")}>
          {report ? <ReportFigures report={report} /> : <p className="muted">{t("report.none")}</p>}
        </Panel>
        {report && (
          <Panel title={t("report.pairs")}>
            <Pairs
              key={part}
              adapterId={adapter.id}
              part={part}
              chosen={pairs ?? []}
              comparison={report[part]}
              onChoose={(next) => void navigate({ search: { part, ...(next && { pairs: next }) }, replace: true, resetScroll: false })}
            />
          </Panel>
        )}
        <Lineage adapter={adapter} />
      </div>
      <div className="stack labelling-side">
        <AdapterFacts adapter={adapter} />
        <Manifest adapter={adapter} />
      </div>
    </div>
  );
}
