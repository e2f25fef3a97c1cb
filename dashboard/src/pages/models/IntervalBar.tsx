import { useFormats } from "../../i18n/format";
import { useT } from "../../i18n/i18n";
import type { Standing } from "./queries";

/** Quality on a scale from 0 to 1: the mean as a mark, and its 95 % interval as a bar if there is one. */
export function IntervalBar({ standing }: { standing: Standing }) {
  const t = useT();
  const formats = useFormats();
  const { quality, interval } = standing;
  if (quality == null) return <span className="muted">{t("common.unmeasured")}</span>;
  const low = Math.max(0, quality - (interval ?? 0)) * 100;
  const high = Math.min(1, quality + (interval ?? 0)) * 100;
  const mean = Math.min(99, Math.max(1, quality * 100));
  return (
    <span className="interval" title={interval == null ? t("models.no_interval") : t("models.interval")}>
      <svg viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden>
        <line x1="0" x2="100" y1="6" y2="6" className="interval-scale" />
        {interval != null && <rect x={low} width={high - low} y="3" height="6" className="interval-span" />}
        <line x1={mean} x2={mean} y1="0" y2="12" className="interval-mean" />
      </svg>
      <span className="value">
        {formats.number(quality, 2)}
        {interval != null && <span className="muted"> ±{formats.number(interval, 2)}</span>}
      </span>
    </span>
  );
}
