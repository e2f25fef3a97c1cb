import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { Ban } from "lucide-react";
import { useState } from "react";
import { api, ok } from "../../../api/client";
import { isActive, type Run } from "../../../api/learning";
import { toProblem } from "../../../api/problem";
import { projectKey, useCan } from "../../../api/queries";
import { Button } from "../../../components/Button";
import { ConfirmDialog } from "../../../components/ConfirmDialog";
import { ErrorState } from "../../../components/ErrorState";
import { ModelLink } from "../../../components/ModelLink";
import { Fact, Panel } from "../../../components/Panel";
import { SkeletonRows } from "../../../components/Skeleton";
import { Duration, Elapsed, Id, Num, RelativeTime } from "../../../components/Values";
import { useFormats } from "../../../i18n/format";
import { useT } from "../../../i18n/i18n";
import { LearningFrame } from "../LearningFrame";
import { runQuery } from "../queries";
import { shareDone } from "./curve";
import { LossCurve } from "./LossCurve";
import { RunBadge } from "./RunBadge";
import { Tries } from "./Tries";

const route = getRouteApi("/app/learning/runs/$runId");

/** A training run, refetched each second until it has ended. */
export function RunPage() {
  const t = useT();
  const { runId } = route.useParams();
  const query = useQuery(runQuery(runId));
  const { data: run, error } = query;
  const detail = (
    <span className="row">
      {run && <RunBadge state={run.state} />}
      <Id id={runId} />
    </span>
  );
  const gone = error && toProblem(error).status === 404;
  return (
    <LearningFrame
      title={run ? t("run.title_of", { base: run.base }) : t("run.title")}
      detail={detail}
      actions={run && isActive(run) && <Cancel run={run} />}
    >
      {error && <ErrorState problem={error} compact={run !== undefined} {...(!gone && { onRetry: () => void query.refetch() })} />}
      {gone && <Link to="/learning">{t("run.all")}</Link>}
      {run ? <Body run={run} /> : query.isPending && <SkeletonRows rows={10} />}
    </LearningFrame>
  );
}

function Body({ run }: { run: Run }) {
  const t = useT();
  return (
    <>
      {run.error && (
        <div className="notice notice-bad" role="alert">
          <div className="notice-text">
            <strong>{t("run.failed_title")}</strong>
            <p>{run.error}</p>
          </div>
        </div>
      )}
      {run.adapter_id && (
        <p>
          <Link to="/learning/adapters/$adapterId" params={{ adapterId: run.adapter_id }} className="button button-primary">
            {t("run.to_adapter")}
          </Link>
        </p>
      )}
      {isActive(run) && <Now run={run} />}
      <div className="labelling">
        <Panel title={t("run.curve")}>
          <LossCurve curve={run.progress.curve ?? []} steps={run.progress.steps ?? null} />
        </Panel>
        <Facts run={run} />
      </div>
      <Tries tries={run.tries} />
    </>
  );
}

/** The current state as one line of figures. */
function Now({ run }: { run: Run }) {
  const t = useT();
  const formats = useFormats();
  const { phase, step, steps, loss, validation_loss, tokens_per_s, left_s } = run.progress;
  const share = shareDone(run);
  const figures = [
    { name: t("run.step"), value: step != null && (steps ? t("run.step_of", { step, steps }) : formats.number(step)) },
    { name: t("run.loss"), value: loss != null && formats.number(loss, 3) },
    { name: t("run.validation_loss"), value: validation_loss != null && formats.number(validation_loss, 3) },
    { name: t("run.speed"), value: tokens_per_s != null && t("run.tokens_per_s", { count: Math.round(tokens_per_s) }) },
    { name: t("run.left"), value: left_s != null && formats.duration(left_s) },
  ].filter(({ value }) => value !== false);
  return (
    <section className="stack run-now" aria-label={t("run.now")}>
      <p>{run.state === "training" && phase ? phase : t(`run.is_${run.state as "waiting" | "training" | "evaluating"}`)}</p>
      {share !== null && <progress className="progress" max={1} value={share} aria-label={t("run.done_share")} />}
      {figures.length > 0 && (
        <dl className="run-figures">
          {figures.map(({ name, value }) => (
            <div key={name}>
              <dt className="muted small">{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
      )}
    </section>
  );
}

function Facts({ run }: { run: Run }) {
  const t = useT();
  return (
    <Panel title={t("task.facts")}>
      <dl className="facts">
        <Fact name={t("run.base")}>
          <ModelLink name={run.base} />
        </Fact>
        <Fact name={t("run.rows")}>
          <Num value={run.rows} />
        </Fact>
        <Fact name={t("run.created")}>
          <RelativeTime at={run.created_at} />
        </Fact>
        <Fact name={t("tasks.duration")}>
          {isActive(run) ? <Elapsed start={run.started_at} end={null} /> : <Duration seconds={durationOf(run)} />}
        </Fact>
        {run.task_id && (
          <Fact name={t("task.title")}>
            <Link to="/tasks/$taskId" params={{ taskId: run.task_id }} preload={false}>
              {t("run.task")}
            </Link>
          </Fact>
        )}
      </dl>
    </Panel>
  );
}

function durationOf({ started_at, finished_at }: Run): number | null {
  return started_at && finished_at ? (Date.parse(finished_at) - Date.parse(started_at)) / 1000 : null;
}

function Cancel({ run }: { run: Run }) {
  const t = useT();
  const may = useCan("training:write");
  const client = useQueryClient();
  const [confirming, setConfirming] = useState(false);
  const cancel = useMutation({
    mutationFn: () => ok(api.POST("/api/training/{run_id}/cancel", { params: { path: { run_id: run.id } } })),
    onSuccess: (after) => {
      client.setQueryData(runQuery(run.id).queryKey, after);
      void client.invalidateQueries({ queryKey: projectKey("training") });
    },
  });
  if (!may) return null;
  return (
    <>
      <Button kind="danger" icon={<Ban aria-hidden />} onClick={() => setConfirming(true)}>
        {t("run.cancel")}
      </Button>
      <ConfirmDialog
        open={confirming}
        onClose={() => setConfirming(false)}
        title={t("run.cancel_title")}
        action={t("run.cancel")}
        onConfirm={async () => void (await cancel.mutateAsync())}
      >
        {t("run.cancel_detail")}
      </ConfirmDialog>
    </>
  );
}
