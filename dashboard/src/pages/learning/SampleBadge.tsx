import { CircleCheck, CircleDashed, CircleSlash, Lock, PencilLine, type LucideIcon } from "lucide-react";
import type { SampleState } from "../../api/types";
import { Badge, type Tone } from "../../components/Badge";
import { useT } from "../../i18n/i18n";

const STATES: Record<SampleState, { tone: Tone; icon: LucideIcon }> = {
  open: { tone: "neutral", icon: CircleDashed },
  corrected: { tone: "info", icon: PencilLine },
  approved: { tone: "good", icon: CircleCheck },
  rejected: { tone: "warn", icon: CircleSlash },
  held_out: { tone: "neutral", icon: Lock },
};

export function SampleBadge({ state }: { state: SampleState }) {
  const t = useT();
  const { tone, icon: Icon } = STATES[state];
  return (
    <Badge tone={tone} icon={<Icon aria-hidden />}>
      {t(`sample.${state}`)}
    </Badge>
  );
}
