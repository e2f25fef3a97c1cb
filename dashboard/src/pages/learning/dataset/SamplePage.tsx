import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import type { SampleDetail } from "../../../api/types";
import { toProblem } from "../../../api/problem";
import { ErrorState } from "../../../components/ErrorState";
import { ModelLink } from "../../../components/ModelLink";
import { Fact, Panel } from "../../../components/Panel";
import { SkeletonRows } from "../../../components/Skeleton";
import { Id, Num, RelativeTime, Unknown } from "../../../components/Values";
import { useT } from "../../../i18n/i18n";
import { LearningFrame } from "../LearningFrame";
import { sampleQuery } from "../queries";
import { titleOfSample } from "../sample";
import { SampleBadge } from "../SampleBadge";
import { Outputs, Prompt, Reason } from "../SampleView";
import { SampleActions } from "./SampleActions";

const route = getRouteApi("/app/learning/dataset/$sampleId");

export function SamplePage() {
  const t = useT();
  const { sampleId } = route.useParams();
  const query = useQuery(sampleQuery(sampleId));
  const { data, error } = query;
  if (data) return <Sample sample={data} error={error} />;
  const gone = error && toProblem(error).status === 404;
  return (
    <LearningFrame title={t("sample.title")} detail={<Id id={sampleId} />}>
      {query.isPending ? <SkeletonRows rows={12} /> : <ErrorState problem={error} {...(!gone && { onRetry: () => void query.refetch() })} />}
      {gone && <Link to="/learning/dataset">{t("dataset.all")}</Link>}
    </LearningFrame>
  );
}

function Sample({ sample, error }: { sample: SampleDetail; error: unknown }) {
  const t = useT();
  const detail = (
    <span className="row">
      <SampleBadge state={sample.state} />
      <Id id={sample.id} />
    </span>
  );
  return (
    <LearningFrame title={titleOfSample(sample) || t("sample.title")} detail={detail}>
      {error ? <ErrorState problem={error} compact /> : null}
      <div className="labelling">
        <div className="stack labelling-main">
          <Prompt sample={sample} />
          <Reason sample={sample} />
          {/* Remounts for another sample, so that typed text is not carried over. */}
          <SampleActions key={sample.id} sample={sample}>
            <Outputs sample={sample} />
          </SampleActions>
        </div>
        <div className="stack labelling-side">
          <Facts sample={sample} />
          <Adapters sample={sample} />
        </div>
      </div>
    </LearningFrame>
  );
}

function Facts({ sample }: { sample: SampleDetail }) {
  const t = useT();
  return (
    <Panel title={t("task.facts")}>
      <dl className="facts">
        <Fact name={t("sample.source")}>{t(`sample.source_${sample.source}`)}</Fact>
        <Fact name={t("tasks.type")}>{sample.task_type ?? <Unknown />}</Fact>
        <Fact name={t("tasks.model")}>{sample.model ? <ModelLink name={sample.model} /> : <Unknown />}</Fact>
        {sample.adapter && <Fact name={t("sample.adapter")}>{sample.adapter}</Fact>}
        <Fact name={t("sample.times")}>
          <Num value={sample.seen} />
        </Fact>
        <Fact name={t("sample.version")}>
          <Num value={sample.version} />
        </Fact>
        <Fact name={t("sample.created")}>
          <RelativeTime at={sample.created_at} />
        </Fact>
        <Fact name={t("sample.labelled")}>
          <RelativeTime at={sample.labelled_at} />
        </Fact>
        {sample.task_id && (
          <Fact name={t("task.title")}>
            <Link to="/tasks/$taskId" params={{ taskId: sample.task_id }} preload={false}>
              {t("sample.task")}
            </Link>
          </Fact>
        )}
      </dl>
    </Panel>
  );
}

function Adapters({ sample }: { sample: SampleDetail }) {
  const t = useT();
  return (
    <Panel title={t("sample.adapters")}>
      {sample.adapters.length === 0 ? (
        <p className="muted">{t("sample.no_adapters")}</p>
      ) : (
        <ul className="link-list">
          {sample.adapters.map(({ id, base, version }) => (
            <li key={id}>
              <Link to="/learning/adapters/$adapterId" params={{ adapterId: id }}>
                {base} v{version}
              </Link>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}
