import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { Send } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { api, ok } from "../../api/client";
import type { TaskDetail } from "../../api/types";
import { taskQuery, useCan } from "../../api/queries";
import { StateBadge } from "../../components/Badge";
import { Button } from "../../components/Button";
import { ErrorState } from "../../components/ErrorState";
import { Field, Textarea } from "../../components/Field";
import { Duration, Money } from "../../components/Values";
import { useT } from "../../i18n/i18n";
import { newId } from "../../lib/ids";
import { useDrafts } from "../../live/deltas";
import { useSubmit } from "../entry/useSubmit";
import { answerOf, FINAL } from "../tasks/detail/answer";
import { errorOf } from "../tasks/detail/stages";
import "../../components/Panel.css";
import "./TryModel.css";

/** Longest time of the answer in seconds. A large local model may have to be loaded first. */
const LIMIT_S = 300;
const POLL_MS = 1500;

/** Sends one prompt to a model, as a task of the project, and shows the answer. */
export function TryModel({ model }: { model: string }) {
  const t = useT();
  const may = useCan("tasks:write");
  const [edited, setEdited] = useState<string | null>(null);
  const [taskId, setTaskId] = useState<string | null>(null);
  // Submissions of the same prompt whose response was lost share one key, so that no task runs twice.
  const key = useRef(newId());
  const prompt = edited ?? t("try.prompt");
  const { busy, problem, submit } = useSubmit(async () => {
    // Without the cache and with one attempt: the answer or the failure is this model's, and it comes soon.
    const body = { prompt, model, cache: false, max_attempts: 1, timeout_s: LIMIT_S };
    const task = await ok(api.POST("/api/tasks", { body, params: { header: { "idempotency-key": key.current } } }));
    key.current = newId();
    setTaskId(task.id);
  });

  return (
    <div className="stack try-model">
      <form className="try-form" onSubmit={submit}>
        <Field label={t("try.label", { model })}>
          <Textarea
            rows={2}
            required
            maxLength={20_000}
            value={prompt}
            disabled={!may}
            onChange={(event) => {
              key.current = newId();
              setEdited(event.target.value);
            }}
          />
        </Field>
        <div className="row">
          <Button type="submit" icon={<Send aria-hidden />} busy={busy} disabled={!may} aria-label={t("try.ask_model", { model })}>
            {t("try.ask")}
          </Button>
          {!may && <span className="muted small">{t("try.not_allowed")}</span>}
        </div>
      </form>
      {problem && <ErrorState problem={problem} compact />}
      {taskId && <Result key={taskId} taskId={taskId} />}
    </div>
  );
}

/** Live events update the task; polling covers a connection without them. */
function Result({ taskId }: { taskId: string }) {
  const t = useT();
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), (LIMIT_S + 30) * 1000);
    return () => clearTimeout(timer);
  }, []);
  const query = useQuery({
    ...taskQuery(taskId),
    refetchInterval: ({ state: { data } }) => (late || (data && FINAL.has(data.state)) ? false : POLL_MS),
  });
  if (!query.data) return query.error ? <ErrorState problem={query.error} compact onRetry={() => void query.refetch()} /> : <Waiting />;
  return (
    <>
      <Answer task={query.data} />
      {late && !FINAL.has(query.data.state) && <p className="muted small">{t("try.late")}</p>}
    </>
  );
}

function Waiting() {
  const t = useT();
  return (
    <p className="muted" role="status">
      {t("try.waiting")}
    </p>
  );
}

function Answer({ task }: { task: TaskDetail }) {
  const t = useT();
  const drafts = useDrafts(task.id);
  const { text } = answerOf(task, drafts);
  const done = FINAL.has(task.state);
  const call = task.decisions.at(-1)?.calls.at(-1);
  const reason = done && task.output === null ? (errorOf({ error: task.error }) ?? t("try.no_answer")) : null;
  return (
    <div className="try-result">
      <div className="row try-state" role="status">
        <StateBadge state={task.state} />
        {!done && !text && <span className="muted">{t("try.waiting")}</span>}
      </div>
      {text && (
        <pre className="prompt" tabIndex={0} role="region" aria-label={t("task.answer")}>
          {text}
        </pre>
      )}
      {reason && (
        <p className="try-failed" role="alert">
          {reason}
        </p>
      )}
      <p className="row small muted try-facts">
        {done && call && (
          <>
            <span>{t("try.answered_by", { model: call.model })}</span>
            <span>
              {t("models.duration")}: <Duration seconds={call.duration_s} />
            </span>
            <span>
              {t("models.cost")}: <Money usd={task.cost_usd} />
            </span>
          </>
        )}
        <Link to="/tasks/$taskId" params={{ taskId: task.id }}>
          {t("try.open_task")}
        </Link>
      </p>
    </div>
  );
}
