import {
  Ban,
  CircleCheck,
  CircleDot,
  CircleSlash,
  CircleX,
  LoaderCircle,
  type LucideIcon,
} from "lucide-react";
import { useMemo } from "react";
import type { TaskDetail } from "../../../api/types";
import type { Tone } from "../../../components/Badge";
import { useFormats } from "../../../i18n/format";
import { useT } from "../../../i18n/i18n";
import { useNow } from "../../../lib/now";
import { FINAL } from "./answer";
import { stagesOf, type Stage } from "./stages";

const ICONS: Record<Tone, LucideIcon> = {
  neutral: CircleDot,
  info: CircleDot,
  good: CircleCheck,
  warn: CircleSlash,
  bad: CircleX,
};

/** Every stored stage with its time. Earlier attempts are collapsed. */
export function Timeline({ task }: { task: TaskDetail }) {
  const t = useT();
  const stages = useMemo(() => stagesOf(task.events), [task.events]);
  const groups = useMemo(() => grouped(stages), [stages]);
  const running = !FINAL.has(task.state);
  const last = stages.at(-1);
  return (
    <div className="timeline" aria-live="polite" aria-relevant="additions">
      {groups.map(({ attempt, items }, index) =>
        index < groups.length - 1 && groups.length > 2 ? (
          <details key={attempt} className="timeline-fold">
            <summary>{t("event.attempt", { attempt })}</summary>
            <Items stages={items} />
          </details>
        ) : (
          <Items key={attempt} stages={items} />
        ),
      )}
      {running && last && <CurrentStage state={task.state} since={last.at} />}
    </div>
  );
}

function grouped(stages: readonly Stage[]): { attempt: number; items: Stage[] }[] {
  const groups: { attempt: number; items: Stage[] }[] = [];
  for (const stage of stages) {
    const last = groups.at(-1);
    // Events after the end of an attempt, a label or a judge's score, also carry its number.
    if (last && last.attempt === stage.attempt) last.items.push(stage);
    else groups.push({ attempt: stage.attempt, items: [stage] });
  }
  return groups;
}

function Items({ stages }: { stages: readonly Stage[] }) {
  return (
    <ol className="stages">
      {stages.map((stage) => (
        <Item key={stage.id} stage={stage} />
      ))}
    </ol>
  );
}

function Item({ stage }: { stage: Stage }) {
  const t = useT();
  const formats = useFormats();
  const Icon = stage.key === "event.cancelled" ? Ban : ICONS[stage.tone];
  return (
    <li className={`stage stage-${stage.tone}`}>
      <Icon aria-hidden />
      <div className="stage-text">
        <span>{t(stage.key, stage.values)}</span>
        {stage.note && <span className="muted small stage-note">{stage.note}</span>}
      </div>
      <time className="muted small value" dateTime={stage.at} title={formats.dateTime(stage.at)}>
        {stage.after === null ? formats.time(stage.at) : `+${formats.duration(stage.after)}`}
      </time>
    </li>
  );
}

function CurrentStage({ state, since }: { state: TaskDetail["state"]; since: string }) {
  const t = useT();
  const formats = useFormats();
  const now = useNow(true);
  return (
    <div className="stage stage-info stage-now">
      <LoaderCircle aria-hidden className="turning" />
      <div className="stage-text">{t(`state.${state}`)}</div>
      <span className="muted small value" aria-hidden>
        +{formats.duration(Math.max(0, Math.floor((now - Date.parse(since)) / 1000)))}
      </span>
    </div>
  );
}
