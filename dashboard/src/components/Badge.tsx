import {
  Ban,
  CircleCheck,
  CircleDashed,
  CircleHelp,
  CircleSlash,
  CircleX,
  LoaderCircle,
  OctagonX,
  ShieldCheck,
  ShieldX,
  type LucideIcon,
} from "lucide-react";
import type { ReactNode } from "react";
import type { TaskState } from "../api/types";
import { useT } from "../i18n/i18n";
import "./Badge.css";

export type Tone = "neutral" | "info" | "good" | "warn" | "bad";

export function Badge({ tone = "neutral", icon, children, title }: { tone?: Tone; icon?: ReactNode; children: ReactNode; title?: string }) {
  return (
    <span className={`badge badge-${tone}`} title={title}>
      {icon}
      {children}
    </span>
  );
}

/** States differ in shape as well as colour, for people who cannot distinguish red from green. */
const STATES: Record<TaskState, { tone: Tone; icon: LucideIcon }> = {
  queued: { tone: "neutral", icon: CircleDashed },
  running: { tone: "info", icon: LoaderCircle },
  succeeded: { tone: "good", icon: CircleCheck },
  rejected: { tone: "warn", icon: CircleSlash },
  failed: { tone: "bad", icon: CircleX },
  dead: { tone: "bad", icon: OctagonX },
  cancelled: { tone: "neutral", icon: Ban },
};

export function StateBadge({ state }: { state: TaskState }) {
  const t = useT();
  const { tone, icon: Icon } = STATES[state];
  return (
    <Badge tone={tone} icon={<Icon aria-hidden className={state === "running" ? "turning" : undefined} />}>
      {t(`state.${state}`)}
    </Badge>
  );
}

/** `approved` is null before the guardian's verdict. */
export function VerdictBadge({ approved, score }: { approved: boolean | null | undefined; score?: ReactNode }) {
  const t = useT();
  if (approved == null) return <Badge icon={<CircleHelp aria-hidden />}>{t("verdict.none")}</Badge>;
  return (
    <Badge tone={approved ? "good" : "warn"} icon={approved ? <ShieldCheck aria-hidden /> : <ShieldX aria-hidden />}>
      {t(approved ? "verdict.approved" : "verdict.rejected")}
      {score}
    </Badge>
  );
}
