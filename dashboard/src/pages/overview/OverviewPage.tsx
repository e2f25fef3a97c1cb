import { useQuery } from "@tanstack/react-query";
import { Link, linkOptions } from "@tanstack/react-router";
import { CircleCheck, CircleX, Plus, TriangleAlert } from "lucide-react";
import type { ReactNode } from "react";
import type { Overview, TaskState } from "../../api/types";
import { modelsQuery, overviewQuery, useCan, type TaskFilters } from "../../api/queries";
import { StateBadge } from "../../components/Badge";
import { Button } from "../../components/Button";
import { Sparkline } from "../../components/Charts";
import { EmptyState } from "../../components/EmptyState";
import { Loaded } from "../../components/Loaded";
import { PageHeader } from "../../components/PageHeader";
import { Section } from "../../components/Section";
import { Money, Num, Percent } from "../../components/Values";
import { useFormats } from "../../i18n/format";
import { useT } from "../../i18n/i18n";
import { TASK_STATES } from "../../lib/states";
import { openDialog } from "../../shell/dialogs";
import { ADAPTERS } from "../learning/anchors";
import { AddModelsLink } from "../models/providers/AddModelsLink";
import { useScopes } from "../models/providers/providerApi";
import { approvedShare, midnight, total } from "./figures";
import "./overview.css";

export function OverviewPage() {
  const t = useT();
  const query = useQuery(overviewQuery());
  return (
    <>
      <PageHeader title={t("overview.title")} />
      <Loaded query={query}>{(data) => <Figures data={data} />}</Loaded>
    </>
  );
}

function Figures({ data }: { data: Overview }) {
  const t = useT();
  return (
    <div className="sections">
      <Health health={data.health} />
      {total(data) === 0 && <First />}
      <SecondModel />
      <Section title={t("overview.today")} detail={t("overview.today_detail")}>
        <ul className="outcomes">
          {TASK_STATES.map((state) => (
            <TaskCount key={state} state={state} count={data.today[state] ?? 0} />
          ))}
        </ul>
      </Section>
      <div className="figures">
        <Approved data={data} />
        <Spend data={data} />
        <NeedsAttention data={data} />
      </div>
    </div>
  );
}

function First() {
  const t = useT();
  const may = useCan("tasks:write");
  const submit = (
    <Button kind="primary" icon={<Plus aria-hidden />} onClick={() => openDialog.set("submit")}>
      {t("shell.submit_task")}
    </Button>
  );
  return (
    <EmptyState title={t("overview.empty")} action={may && submit}>
      {t("overview.empty_detail")}
    </EmptyState>
  );
}

/** With one model there is nothing to choose from, to compare or to learn. */
function SecondModel() {
  const t = useT();
  const may = (useScopes()?.length ?? 0) > 0;
  const { data } = useQuery({ ...modelsQuery(), enabled: may });
  if (!may || data?.filter((model) => model.base === null).length !== 1) return null;
  return (
    <EmptyState title={t("overview.one_model")} action={<AddModelsLink label={t("overview.second_model")} />}>
      {t("overview.one_model_detail")}
    </EmptyState>
  );
}

/** Queued and running tasks are counted now, the other states today; the linked list is filtered in the same link. */
function TaskCount({ state, count }: { state: TaskState; count: number }) {
  const ended = state !== "queued" && state !== "running";
  return (
    <li>
      <Link to="/tasks" search={{ state: [state], ...(ended && { ended_since: midnight() }) }} className="outcome">
        <span className="outcome-count">
          <Num value={count} />
        </span>
        <StateBadge state={state} />
      </Link>
    </li>
  );
}

function Figure({ title, children, foot }: { title: string; children: ReactNode; foot?: ReactNode }) {
  return (
    <section className="figure-box">
      <h2 className="figure-title">{title}</h2>
      {children}
      {foot && <p className="muted small">{foot}</p>}
    </section>
  );
}

function Approved({ data }: { data: Overview }) {
  const t = useT();
  const shares = data.days.map(approvedShare);
  const sum = data.days.reduce((all, day) => ({ approved: all.approved + day.approved, rejected: all.rejected + day.rejected }), {
    approved: 0,
    rejected: 0,
  });
  return (
    <Figure title={t("overview.approved")} foot={t("overview.approved_detail", { count: data.days.length })}>
      <Link to="/tasks" search={{ state: ["succeeded", "rejected"] }} className="figure-link">
        <Percent share={approvedShare(sum)} />
      </Link>
      <Sparkline values={shares} min={0} max={1} width={180} height={36} label={t("overview.approved_trend", { count: data.days.length })} />
    </Figure>
  );
}

function Spend({ data }: { data: Overview }) {
  const t = useT();
  const formats = useFormats();
  const { hits, usd } = data.saved_by_cache;
  return (
    <Figure title={t("overview.spend")} foot={t("overview.spend_detail")}>
      <Link to="/models" className="figure-link">
        <Money usd={data.spend_today_usd} />
      </Link>
      <ul className="figure-list">
        <li>
          <Link to="/models">{hits === null ? t("overview.cache_away") : t("overview.cache", { count: hits })}</Link>
          {usd !== null && <span className="muted"> · {t("overview.saved", { sum: formats.money(usd) })}</span>}
        </li>
        <li>
          <Link to="/models">
            {data.local_share === null ? t("overview.no_calls") : t("overview.local", { share: formats.percent(data.local_share) })}
          </Link>
        </li>
      </ul>
    </Figure>
  );
}

/** Items that need a person; each links to its page. */
function NeedsAttention({ data }: { data: Overview }) {
  const t = useT();
  const { samples_open: samples, rejected_tasks: rejected, adapters_need_approval: adapters } = data.waiting;
  const label = useCan("dataset:write");
  const lines = [
    {
      count: samples,
      text: t("overview.corrections", { count: samples }),
      link: linkOptions({ to: label ? "/learning/label" : "/learning/dataset" }),
    },
    { count: rejected, text: t("overview.rejected", { count: rejected }), link: REJECTED },
    { count: adapters, text: t("overview.adapters", { count: adapters }), link: linkOptions({ to: "/learning", hash: ADAPTERS }) },
  ];
  const waiting = lines.filter(({ count }) => count > 0);
  return (
    <Figure title={t("overview.waiting")}>
      <Link {...(waiting[0]?.link ?? REJECTED)} className="figure-link">
        <Num value={samples + rejected + adapters} />
      </Link>
      {waiting.length === 0 ? (
        <p className="muted small">{t("overview.nothing_waits")}</p>
      ) : (
        <ul className="figure-list">
          {waiting.map((one) => (
            <li key={one.text}>
              <Link {...one.link}>{one.text}</Link>
            </li>
          ))}
        </ul>
      )}
    </Figure>
  );
}

const REJECTED = linkOptions({ to: "/tasks", search: { state: ["rejected"], labelled: "false" } satisfies TaskFilters });

function Health({ health }: { health: Overview["health"] }) {
  const t = useT();
  const failing = Object.entries(health.parts).filter(([, part]) => part.state !== "ok");
  const Icon = health.state === "ok" ? CircleCheck : health.state === "down" ? CircleX : TriangleAlert;
  return (
    <div className={`health-line health-${health.state}`} role="status">
      <Icon aria-hidden />
      <div>
        <strong>{t(`overview.health_${health.state}`)}</strong>
        {failing.map(([name, part]) => (
          <p key={name} className="small">
            <Link to="/models">{name}</Link>: {part.detail || part.state}
          </p>
        ))}
      </div>
    </div>
  );
}
