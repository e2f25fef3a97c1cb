import { useMutation } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { Lightbulb } from "lucide-react";
import { api, ok } from "../../../api/client";
import type { Advice, BaseCheck, Conflict, Kind, Plan, Review } from "../../../api/learning";
import { useCan } from "../../../api/queries";
import { Button } from "../../../components/Button";
import { ErrorState } from "../../../components/ErrorState";
import { Fact } from "../../../components/Panel";
import { Num } from "../../../components/Values";
import { useT } from "../../../i18n/i18n";
import { kindName, notAsked } from "./review";
import "./review.css";

/** What the samples of a run teach, and what to do before it. */
export function PlanReview({ plan }: { plan: Plan }) {
  const t = useT();
  const may = useCan("training:write");
  const check = useMutation({ mutationFn: () => ok(api.POST("/api/training/base-check", { body: { base: plan.base } })) });
  const advice = [...plan.advice, ...(check.data?.advice ?? [])];
  return (
    <section className="stack review" aria-labelledby="review-title">
      <h3 id="review-title">{t("review.title")}</h3>
      {advice.length > 0 && <AdviceList advice={advice} review={plan.review} />}
      <Figures plan={plan} />
      <Kinds review={plan.review} />
      {plan.review.conflicts.length > 0 && <Conflicts conflicts={plan.review.conflicts} />}
      <div>
        <h4>{t("review.success")}</h4>
        <Success plan={plan} />
      </div>
      <div className="stack review-base">
        <h4>{t("review.base")}</h4>
        {check.data ? (
          <BaseAnswers check={check.data} />
        ) : (
          <div className="row review-ask">
            <Button size="small" busy={check.isPending} disabled={!may} onClick={() => check.mutate()}>
              {t("review.base_check")}
            </Button>
            <span className="muted small">{t("review.base_detail")}</span>
          </div>
        )}
        {check.error && <ErrorState problem={check.error} compact />}
      </div>
    </section>
  );
}

function AdviceList({ advice, review }: { advice: Advice[]; review: Review }) {
  const t = useT();
  return (
    <div className="notice review-advice" role="note">
      <Lightbulb aria-hidden />
      <div className="notice-text">
        <strong>{t("review.advice")}</strong>
        <ul className="notice-list">
          {advice.map(({ action, count, have, need, kind }, place) => (
            <li key={place}>{t(`advice.${action}`, { count, have, need, kind: kind ? kindName(kind, review) : "" })}</li>
          ))}
        </ul>
      </div>
    </div>
  );
}

function Figures({ plan: { review, rows } }: { plan: Plan }) {
  const t = useT();
  const figures = [
    [t("review.distinct"), review.distinct],
    [t("review.repeated"), review.repeated],
    [t("review.contradictions"), review.contradictions],
    [t("review.too_long", { tokens: review.max_tokens }), review.too_long],
    [t("review.empty_answers"), review.empty_answers],
  ] as const;
  return (
    <>
      <dl className="facts">
        {figures.map(([name, value]) => (
          <Fact key={name} name={name}>
            <Num value={value} />
          </Fact>
        ))}
      </dl>
      {review.reviewed < rows && <p className="muted small">{t("review.partial", { count: review.reviewed, rows })}</p>}
    </>
  );
}

function Kinds({ review }: { review: Review }) {
  const t = useT();
  const { kinds, kinds_total, kinds_problem, prompts, grouped_prompts } = review;
  const more = kinds_total - kinds.length;
  return (
    <div className="stack review-kinds">
      <h4>{t("review.kinds")}</h4>
      <ul className="review-list">
        {kinds.map((kind, place) => (
          <KindRow key={place} kind={kind} review={review} />
        ))}
      </ul>
      {more > 0 && <p className="muted small">{t("review.more_kinds", { count: more })}</p>}
      {kinds_problem !== null && <p className="muted small">{t("review.kinds_problem", { reason: kinds_problem })}</p>}
      {kinds_problem === null && grouped_prompts < prompts && (
        <p className="muted small">{t("review.kinds_sampled", { grouped: grouped_prompts, prompts })}</p>
      )}
    </div>
  );
}

function KindRow({ kind, review }: { kind: Kind; review: Review }) {
  const t = useT();
  return (
    <li className="review-kind">
      <span className="review-name">{kindName(kind, review)}</span>
      <span className="muted small">{t("review.kind_rows", { count: kind.rows, training: kind.training })}</span>
    </li>
  );
}

function Conflicts({ conflicts }: { conflicts: Conflict[] }) {
  const t = useT();
  return (
    <details>
      <summary>
        {t("review.conflicts")} <span className="muted small">{t("review.conflicts_shown", { count: conflicts.length })}</span>
      </summary>
      <ul className="review-list">
        {conflicts.map((one) => (
          <li key={`${one.first} ${one.second}`} className="review-conflict">
            <p className="review-name">{one.prompt}</p>
            <Answer id={one.first} name={t("review.first_sample")} text={one.first_answer} />
            <Answer id={one.second} name={t("review.second_sample")} text={one.second_answer} />
          </li>
        ))}
      </ul>
    </details>
  );
}

function Answer({ id, name, text }: { id: string; name: string; text: string }) {
  return (
    <p className="small">
      <Link to="/learning/dataset/$sampleId" params={{ sampleId: id }} preload={false}>
        {name}
      </Link>{" "}
      <code>{text}</code>
    </p>
  );
}

function Success({ plan: { success, fewest_measured } }: { plan: Plan }) {
  const t = useT();
  if (success) {
    const { rows, runs, promoted, title, measured } = success;
    return <p>{t("review.success_measured", { count: runs, rows, promoted, title, date: measured })}</p>;
  }
  return <p>{fewest_measured === null ? t("review.success_none") : t("review.success_below", { count: fewest_measured })}</p>;
}

function BaseAnswers({ check }: { check: BaseCheck }) {
  const t = useT();
  const left = notAsked(check);
  const right = check.samples.filter((sample) => sample.right);
  return (
    <>
      <p role="status">
        {t("review.base_result", { count: check.asked, right: check.right })}{" "}
        {(left > 0 || check.failed > 0) && t("review.base_incomplete", { failed: check.failed, left })}
      </p>
      {right.length > 0 && (
        <details>
          <summary>{t("review.base_right")}</summary>
          <ul className="review-list small">
            {right.map(({ id, prompt }) => (
              <li key={id} className="review-name">
                <Link to="/learning/dataset/$sampleId" params={{ sampleId: id }} preload={false}>
                  {prompt || id}
                </Link>
              </li>
            ))}
          </ul>
        </details>
      )}
    </>
  );
}
