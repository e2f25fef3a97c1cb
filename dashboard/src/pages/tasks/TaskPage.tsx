import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { Ban, RotateCcw } from "lucide-react";
import { api, ok } from "../../api/client";
import type { TaskDetail } from "../../api/types";
import { toProblem } from "../../api/problem";
import { projectKey, taskQuery, useCan } from "../../api/queries";
import { StateBadge } from "../../components/Badge";
import { Button } from "../../components/Button";
import { ErrorState } from "../../components/ErrorState";
import { PageHeader } from "../../components/PageHeader";
import { SkeletonRows } from "../../components/Skeleton";
import { Id } from "../../components/Values";
import { useT } from "../../i18n/i18n";
import { titleOf } from "../../lib/title";
import { Answer } from "./detail/Answer";
import { FINAL } from "./detail/answer";
import { Calls } from "./detail/Calls";
import { Facts } from "./detail/Facts";
import { LabelBar } from "./detail/LabelBar";
import { Timeline } from "./detail/Timeline";
import { Verdicts } from "./detail/Verdicts";
import { WhyModel } from "./detail/WhyModel";
import "../../components/Panel.css";
import "./detail/answer.css";
import "./detail/detail.css";
import "./detail/timeline.css";

const route = getRouteApi("/app/tasks/$taskId");

export function TaskPage() {
  const t = useT();
  const { taskId } = route.useParams();
  const query = useQuery(taskQuery(taskId));
  if (query.data) return <Task task={query.data} />;
  return (
    <>
      <PageHeader title={t("task.title")} detail={<Id id={taskId} />} />
      {query.isPending ? <SkeletonRows rows={12} /> : <Missing error={query.error} onRetry={() => void query.refetch()} />}
    </>
  );
}

function Missing({ error, onRetry }: { error: unknown; onRetry: () => void }) {
  const t = useT();
  const gone = toProblem(error).status === 404;
  return (
    <div className="stack">
      <ErrorState problem={error} {...(gone ? {} : { onRetry })} />
      {gone && <Link to="/tasks">{t("task.all")}</Link>}
    </div>
  );
}

function Task({ task }: { task: TaskDetail }) {
  const t = useT();
  const detail = (
    <span className="row task-detail-line">
      <StateBadge state={task.state} />
      <Id id={task.id} />
    </span>
  );
  return (
    <>
      <PageHeader title={titleOf(task.prompt) || t("tasks.untitled")} detail={detail}>
        <Actions task={task} />
      </PageHeader>
      <div className="task-columns">
        <div className="stack task-side">
          <section className="panel" aria-labelledby="timeline-title">
            <h2 id="timeline-title" className="panel-head">
              {t("task.timeline")}
            </h2>
            <Timeline task={task} />
          </section>
          <Facts task={task} />
        </div>
        <div className="stack task-main">
          <Prompt text={task.prompt} system={task.system ?? null} />
          <Answer task={task} />
          {FINAL.has(task.state) && task.lane !== "train" && <LabelBar task={task} />}
          <Verdicts task={task} />
          <WhyModel decisions={task.decisions} />
          <Calls decisions={task.decisions} />
        </div>
      </div>
    </>
  );
}

function Prompt({ text, system }: { text: string; system: string | null }) {
  const t = useT();
  return (
    <section className="panel" aria-labelledby="prompt-title">
      <h2 id="prompt-title" className="panel-head">
        {t("task.prompt")}
      </h2>
      <pre className="prompt" tabIndex={0}>
        {text}
      </pre>
      {system !== null && (
        <>
          <h3>{t("task.system")}</h3>
          <pre className="prompt" tabIndex={0}>
            {system}
          </pre>
        </>
      )}
    </section>
  );
}

function Actions({ task }: { task: TaskDetail }) {
  const t = useT();
  const cache = useQueryClient();
  const may = useCan("tasks:write");
  const act = useMutation({
    mutationFn: (what: "cancel" | "retry") => ok(api.POST(`/api/tasks/{task_id}/${what}`, { params: { path: { task_id: task.id } } })),
    onSettled: () => cache.invalidateQueries({ queryKey: projectKey("task", task.id) }),
  });
  if (!may) return null;
  return (
    <>
      {act.isError && <ErrorState problem={act.error} compact />}
      {FINAL.has(task.state) ? (
        <Button icon={<RotateCcw aria-hidden />} busy={act.isPending} onClick={() => act.mutate("retry")}>
          {t("task.retry")}
        </Button>
      ) : (
        <Button icon={<Ban aria-hidden />} busy={act.isPending || task.cancel_requested} onClick={() => act.mutate("cancel")}>
          {t(task.cancel_requested ? "task.cancel_asked" : "task.cancel")}
        </Button>
      )}
    </>
  );
}
