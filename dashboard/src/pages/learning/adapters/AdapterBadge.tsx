import { Archive, Bird, CircleDashed, CircleSlash, Radio, Trash2, UserCheck, type LucideIcon } from "lucide-react";
import type { Adapter, AdapterState } from "../../../api/learning";
import { Badge, type Tone } from "../../../components/Badge";
import { useFormats } from "../../../i18n/format";
import { useT } from "../../../i18n/i18n";

const STATES: Record<AdapterState, { tone: Tone; icon: LucideIcon }> = {
  candidate: { tone: "neutral", icon: CircleDashed },
  needs_approval: { tone: "warn", icon: UserCheck },
  canary: { tone: "info", icon: Bird },
  live: { tone: "good", icon: Radio },
  retired: { tone: "neutral", icon: Archive },
  refused: { tone: "bad", icon: CircleSlash },
  deleted: { tone: "neutral", icon: Trash2 },
};

export function AdapterBadge({ state }: { state: AdapterState }) {
  const t = useT();
  const { tone, icon: Icon } = STATES[state];
  return (
    <Badge tone={tone} icon={<Icon aria-hidden />}>
      {t(`adapter.${state}`)}
    </Badge>
  );
}

/** Shows whether the model host serves the adapter, and its share of the base model's traffic. */
export function Serving({ adapter: { state, serving, share } }: { adapter: Adapter }) {
  const t = useT();
  const formats = useFormats();
  const takes = state === "canary" || state === "live";
  if (!takes && serving.state === "not_served" && !serving.problem) return <span className="muted">{t("adapter.not_served")}</span>;
  return (
    <span>
      {t(`adapter.${serving.state}`)}
      {takes && <> · {t("adapter.share", { share: formats.percent(share) })}</>}
      {serving.problem && <span className="serving-problem"> {serving.problem}</span>}
    </span>
  );
}
