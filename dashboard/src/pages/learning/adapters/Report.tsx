import { ShieldCheck, ShieldQuestion, ShieldX, type LucideIcon } from "lucide-react";
import type { ReactNode } from "react";
import type { Comparison, Report, Ruling } from "../../../api/learning";
import { Badge, type Tone } from "../../../components/Badge";
import { Num } from "../../../components/Values";
import { useFormats } from "../../../i18n/format";
import { useT } from "../../../i18n/i18n";

const RULINGS: Record<Ruling, { tone: Tone; icon: LucideIcon }> = {
  promote: { tone: "good", icon: ShieldCheck },
  needs_approval: { tone: "warn", icon: ShieldQuestion },
  refuse: { tone: "bad", icon: ShieldX },
};

export function RulingBadge({ ruling }: { ruling: Ruling }) {
  const t = useT();
  const { tone, icon: Icon } = RULINGS[ruling];
  return (
    <Badge tone={tone} icon={<Icon aria-hidden />}>
      {t(`ruling.${ruling}`)}
    </Badge>
  );
}

/** The evaluation and its result as figures. */
export function ReportFigures({ report }: { report: Report }) {
  const t = useT();
  return (
    <div className="stack">
      <p className="row report-ruling">
        <RulingBadge ruling={report.ruling} />
        <span>{report.reason}</span>
      </p>
      <div className="report-parts">
        <Part title={t("report.held_out")} detail={t("report.held_out_detail")} comparison={report.held_out} margin={0} />
        <Part title={t("report.control")} detail={t("report.control_detail")} comparison={report.control} margin={report.margin}>
          <Contexts contexts={report.contexts ?? []} />
        </Part>
      </div>
      {report.measured_on && <p className="muted small">{t("report.measured_on", { where: report.measured_on })}</p>}
    </div>
  );
}

interface PartProps {
  title: string;
  detail: string;
  comparison: Comparison;
  margin: number;
  children?: ReactNode;
}

function Part({ title, detail, comparison, margin, children }: PartProps) {
  const t = useT();
  const { base, candidate, pairs, prompts } = comparison;
  return (
    <section className="report-part">
      <h3>{title}</h3>
      <p className="muted small">{detail}</p>
      <dl className="run-figures">
        <div>
          <dt className="muted small">{t("report.base")}</dt>
          <dd>
            <Num value={base} digits={3} />
          </dd>
        </div>
        <div>
          <dt className="muted small">{t("report.candidate")}</dt>
          <dd>
            <Num value={candidate} digits={3} />
          </dd>
        </div>
        <div>
          <dt className="muted small">{t("report.prompts")}</dt>
          <dd>
            <Num value={prompts || pairs.length} />
          </dd>
        </div>
      </dl>
      <Difference comparison={comparison} margin={margin} />
      {children}
    </section>
  );
}

/** The control prompts are asked with the agent's system prompt and without it. */
function Contexts({ contexts }: { contexts: NonNullable<Report["contexts"]> }) {
  const t = useT();
  const formats = useFormats();
  return (
    <ul className="muted small">
      {contexts.map(({ context, base, candidate }) => (
        <li key={context}>
          {t(`report.context.${context}`, { base: formats.number(base, 3), candidate: formats.number(candidate, 3) })}
        </li>
      ))}
    </ul>
  );
}

/** The difference and its interval on a line, with zero and the margin marked, which the gate uses to decide. */
function Difference({ comparison: { difference, low, high }, margin }: { comparison: Comparison; margin: number }) {
  const t = useT();
  const formats = useFormats();
  if (difference === null) return <p className="muted">{t("report.unmeasured")}</p>;
  const signed = (value: number) => (value > 0 ? "+" : "") + formats.number(value, 3);
  const summary =
    low !== null && high !== null
      ? t("report.difference", { difference: signed(difference), low: signed(low), high: signed(high) })
      : t("report.difference_only", { difference: signed(difference) });
  const reach = 1.15 * Math.max(0.05, margin, Math.abs(difference), Math.abs(low ?? 0), Math.abs(high ?? 0));
  const x = (value: number) => 50 + (50 * value) / reach;
  return (
    <div className="difference">
      <svg viewBox="0 0 100 20" preserveAspectRatio="none" aria-hidden>
        <line x1="0" x2="100" y1="10" y2="10" className="interval-scale" />
        <line x1="50" x2="50" y1="1" y2="19" className="difference-zero" />
        {margin > 0 && <line x1={x(-margin)} x2={x(-margin)} y1="1" y2="19" className="difference-margin" />}
        {low !== null && high !== null && <rect x={x(low)} width={x(high) - x(low)} y="6" height="8" className="interval-span" />}
        <line x1={x(difference)} x2={x(difference)} y1="3" y2="17" className="interval-mean" />
      </svg>
      <p>{summary}</p>
      {margin > 0 && <p className="muted small">{t("report.margin", { margin: formats.number(margin, 3) })}</p>}
    </div>
  );
}
