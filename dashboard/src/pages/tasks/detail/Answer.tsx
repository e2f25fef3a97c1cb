import { PencilLine, ShieldQuestion } from "lucide-react";
import { useEffect, useMemo, useRef } from "react";
import type { TaskDetail } from "../../../api/types";
import { Badge } from "../../../components/Badge";
import { CopyButton } from "../../../components/Values";
import { useT } from "../../../i18n/i18n";
import { useDrafts } from "../../../live/deltas";
import { AnswerText } from "./AnswerText";
import { answerOf, type ShownAnswer } from "./answer";
import { Findings } from "./Findings";
import { errorOf } from "./stages";

export function Answer({ task }: { task: TaskDetail }) {
  const t = useT();
  const drafts = useDrafts(task.id);
  const shown = useMemo(() => answerOf(task, drafts), [task, drafts]);
  return (
    <section className="panel answer" aria-labelledby="answer-title">
      <div className="spread panel-head">
        <h2 id="answer-title">{t("task.answer")}</h2>
        {shown.kind === "final" && <CopyButton text={shown.text} />}
        <DraftBadge shown={shown} />
      </div>
      <Body task={task} shown={shown} />
    </section>
  );
}

function Body({ task, shown }: { task: TaskDetail; shown: ShownAnswer }) {
  const t = useT();
  if (shown.kind === "final") return <AnswerText text={shown.text} findings={shown.findings} />;
  if (shown.kind === "none") {
    const reason = errorOf({ error: task.error });
    return (
      <div className="answer-empty">
        <p className="muted">{t("answer.none")}</p>
        {reason && <p>{reason}</p>}
        {shown.findings.length > 0 && <Findings findings={shown.findings} />}
      </div>
    );
  }
  if (shown.kind === "waiting") {
    return <p className="muted answer-empty">{t(task.state === "queued" ? "answer.waiting_queued" : "answer.waiting")}</p>;
  }
  return <DraftText shown={shown} />;
}

function DraftBadge({ shown: { kind, draft } }: { shown: ShownAnswer }) {
  const t = useT();
  if (kind !== "writing" && kind !== "replaced" && kind !== "checked") return null;
  return (
    <Badge tone={kind === "replaced" ? "warn" : "info"} icon={kind === "writing" ? <PencilLine aria-hidden /> : <ShieldQuestion aria-hidden />}>
      {t(kind === "replaced" ? "answer.replaced" : kind === "checked" ? "answer.checked" : "answer.writing", { draft: draft ?? 1 })}
    </Badge>
  );
}

/** Scrolls with the text while it is generated, unless the reader has scrolled up. */
function DraftText({ shown }: { shown: ShownAnswer }) {
  const t = useT();
  const box = useRef<HTMLDivElement>(null);
  const follows = useRef(true);
  useEffect(() => {
    if (follows.current && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [shown.text]);
  return (
    <>
      <p className="muted small">{t("answer.draft_hint")}</p>
      {shown.missing > 0 && <p className="muted small">{t("answer.missing", { count: shown.missing })}</p>}
      <div
        ref={box}
        className={shown.kind === "replaced" ? "draft draft-replaced" : "draft"}
        tabIndex={0}
        role="region"
        aria-label={t("task.answer")}
        onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
          follows.current = scrollHeight - scrollTop - clientHeight < 40;
        }}
      >
        <pre>{shown.text}</pre>
      </div>
      {shown.findings.length > 0 && <Findings findings={shown.findings} />}
    </>
  );
}
