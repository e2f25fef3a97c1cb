import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { CircleDot, CircleSlash, LoaderCircle } from "lucide-react";
import type { AgentList, AgentOut, DaemonOut } from "../../api/types";
import { agentsQuery, daemonsQuery } from "../../api/queries";
import { Badge, type Tone } from "../../components/Badge";
import { EmptyState } from "../../components/EmptyState";
import { Loaded } from "../../components/Loaded";
import { PageHeader } from "../../components/PageHeader";
import { Section } from "../../components/Section";
import { Duration, Money, Num, RelativeTime } from "../../components/Values";
import { useT } from "../../i18n/i18n";
import { titleOf } from "../../lib/title";
import { Plugins } from "./Plugins";
import "./agents.css";

const STATES: Record<AgentOut["state"], { tone: Tone; icon: typeof CircleDot }> = {
  idle: { tone: "neutral", icon: CircleDot },
  working: { tone: "info", icon: LoaderCircle },
  offline: { tone: "bad", icon: CircleSlash },
};

export function AgentsPage() {
  const t = useT();
  // Events report the tasks of the project; no event reports that a daemon stopped responding.
  const query = useQuery({ ...agentsQuery(), refetchInterval: 5000 });
  return (
    <>
      <PageHeader title={t("agents.title")} />
      <Loaded query={query}>{(data) => <Agents data={data} />}</Loaded>
    </>
  );
}

function Agents({ data }: { data: AgentList }) {
  const t = useT();
  return (
    <div className="sections">
      <ul className="agents" aria-label={t("agents.title")}>
        {data.items.map((agent) => (
          <Agent key={agent.name} agent={agent} />
        ))}
      </ul>
      <Plugins />
      <Daemons />
    </div>
  );
}

function Daemons() {
  const t = useT();
  const query = useQuery(daemonsQuery());
  return (
    <Section title={t("agents.workers")} detail={t("agents.workers_detail")}>
      <Loaded query={query}>
        {({ items }) =>
          items.length === 0 ? (
            <EmptyState title={t("agents.no_workers")}>{t("agents.no_workers_detail")}</EmptyState>
          ) : (
            <ul className="workers">
              {items.map((daemon) => (
                <Daemon key={daemon.name} daemon={daemon} />
              ))}
            </ul>
          )
        }
      </Loaded>
    </Section>
  );
}

function Agent({ agent }: { agent: AgentOut }) {
  const t = useT();
  const { tone, icon: Icon } = STATES[agent.state];
  const { today } = agent;
  return (
    <li className="agent">
      <div className="spread">
        <h2>{agent.name}</h2>
        <Badge tone={tone} icon={<Icon aria-hidden className={agent.state === "working" ? "turning" : undefined} />}>
          {t(`agents.${agent.state}`)}
        </Badge>
      </div>
      <p className="muted small">{agent.capabilities.join(", ")}</p>
      {agent.tasks.length > 0 ? (
        <ul className="agent-tasks">
          {agent.tasks.map((task) => (
            <li key={task.id}>
              <Link to="/tasks/$taskId" params={{ taskId: task.id }} className="truncate">
                {titleOf(task.prompt) || t("tasks.untitled")}
              </Link>
              <span className="muted small">
                <RelativeTime at={task.started_at} />
              </span>
            </li>
          ))}
        </ul>
      ) : (
        <p className="muted small">{t("agents.nothing")}</p>
      )}
      <dl className="agent-figures">
        {(["succeeded", "rejected", "failed", "queued"] as const).map((state) => (
          <div key={state}>
            <dt className="muted small">{t(`state.${state}`)}</dt>
            <dd>
              <Link to="/tasks" search={{ state: [state], agent: agent.name }}>
                <Num value={today[state]} />
              </Link>
            </dd>
          </div>
        ))}
        <div>
          <dt className="muted small">{t("agents.mean")}</dt>
          <dd>
            <Duration seconds={today.mean_s} />
          </dd>
        </div>
        <div>
          <dt className="muted small">{t("tasks.cost")}</dt>
          <dd>
            <Money usd={today.cost_usd} />
          </dd>
        </div>
      </dl>
      <p className="muted small">
        {t("agents.heartbeat")} <RelativeTime at={agent.last_heartbeat} />
      </p>
    </li>
  );
}

function Daemon({ daemon }: { daemon: DaemonOut }) {
  const t = useT();
  return (
    <li className="worker">
      <span className="mono truncate">{daemon.name}</span>
      <span className="muted small">{daemon.role}</span>
      <Badge tone={daemon.alive ? "good" : "bad"} icon={daemon.alive ? <CircleDot aria-hidden /> : <CircleSlash aria-hidden />}>
        {t(daemon.alive ? "agents.alive" : "agents.silent")}
      </Badge>
      <span className="muted small">
        <RelativeTime at={daemon.heartbeat_at} />
      </span>
    </li>
  );
}
