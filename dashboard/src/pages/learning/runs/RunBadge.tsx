import { Ban, CircleCheck, CircleDashed, CircleX, LoaderCircle, Scale, type LucideIcon } from "lucide-react";
import type { RunState } from "../../../api/learning";
import { Badge, type Tone } from "../../../components/Badge";
import { useT } from "../../../i18n/i18n";

const STATES: Record<RunState, { tone: Tone; icon: LucideIcon }> = {
  waiting: { tone: "neutral", icon: CircleDashed },
  training: { tone: "info", icon: LoaderCircle },
  evaluating: { tone: "info", icon: Scale },
  done: { tone: "good", icon: CircleCheck },
  failed: { tone: "bad", icon: CircleX },
  cancelled: { tone: "neutral", icon: Ban },
};

export function RunBadge({ state }: { state: RunState }) {
  const t = useT();
  const { tone, icon: Icon } = STATES[state];
  return (
    <Badge tone={tone} icon={<Icon aria-hidden className={state === "training" ? "turning" : undefined} />}>
      {t(`run.${state}`)}
    </Badge>
  );
}
