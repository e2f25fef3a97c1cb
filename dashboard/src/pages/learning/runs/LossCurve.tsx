import { useMemo, useRef } from "react";
import type { CurvePoint } from "../../../api/learning";
import { seriesColour } from "../../../components/Charts";
import { Num, Unknown } from "../../../components/Values";
import { useFormats } from "../../../i18n/format";
import { useT } from "../../../i18n/i18n";
import { useWidth } from "../../../lib/width";
import { axisOf, best, pointsOf } from "./curve";

/** Used until the box is measured. Drawn in CSS pixels, so that text keeps its size on a phone. */
const WIDTH = 720;
const HEIGHT = 260;
const LEFT = 48;
const BOTTOM = 26;
const TOP = 10;
const RIGHT = 16;
/** Maximum rows of the table below; the curve shows all points. */
const MAX_ROWS = 200;

/** Loss by step: training as a line, validation dashed with a mark at each point. */
export function LossCurve({ curve, steps }: { curve: readonly CurvePoint[]; steps: number | null }) {
  const t = useT();
  const formats = useFormats();
  const box = useRef<HTMLElement>(null);
  const width = useWidth(box, WIDTH);
  const lines = useMemo(() => ({ training: pointsOf(curve, "loss"), validation: pointsOf(curve, "validation_loss") }), [curve]);
  const last = lines.training.at(-1);
  const least = best(curve);
  const summary = [
    t("run.curve"),
    last && t("run.curve_training", { loss: formats.number(last.value, 3), step: last.step }),
    least && t("run.curve_validation", { loss: formats.number(least.value, 3), step: least.step }),
  ];
  return (
    <figure className="curve" ref={box}>
      {last || least ? (
        <Drawing lines={lines} steps={steps} width={width} label={summary.filter(Boolean).join(". ")} />
      ) : (
        <p className="muted">{t("run.no_curve")}</p>
      )}
      <figcaption className="legend">
        <span className="legend-item">
          <Mark colour={seriesColour(0)} />
          {t("run.loss")}
        </span>
        <span className="legend-item">
          <Mark colour={seriesColour(1)} dashed />
          {t("run.validation_loss")}
        </span>
      </figcaption>
      {curve.length > 0 && <Numbers curve={curve} />}
    </figure>
  );
}

type Points = { step: number; value: number }[];

interface DrawingProps {
  lines: { training: Points; validation: Points };
  steps: number | null;
  width: number;
  label: string;
}

function Drawing({ lines, steps, width, label }: DrawingProps) {
  const t = useT();
  const formats = useFormats();
  const all = [...lines.training, ...lines.validation];
  const most = Math.max(steps ?? 0, ...all.map(({ step }) => step)) || 1;
  const y = axisOf(all.map(({ value }) => value));
  const x = axisOf([0, most], Math.max(2, Math.floor(width / 120)));
  const at = (step: number) => LEFT + (step / most) * (width - LEFT - RIGHT);
  const up = (value: number) => TOP + ((y.high - value) / (y.high - y.low)) * (HEIGHT - TOP - BOTTOM);
  const path = (points: Points) => points.map(({ step, value }, n) => `${n ? "L" : "M"}${at(step).toFixed(1)} ${up(value).toFixed(1)}`).join("");
  return (
    <svg width={width} height={HEIGHT} role="img" aria-label={label}>
      {y.ticks.map((tick) => (
        <g key={tick}>
          <line x1={LEFT} x2={width - RIGHT} y1={up(tick)} y2={up(tick)} className="curve-grid" />
          <text x={LEFT - 8} y={up(tick) + 4} textAnchor="end" className="curve-tick">
            {formats.number(tick, 3)}
          </text>
        </g>
      ))}
      {x.ticks
        .filter((tick) => tick <= most)
        .map((tick) => (
          <text key={tick} x={at(tick)} y={HEIGHT - 6} textAnchor="middle" className="curve-tick">
            {formats.number(tick)}
          </text>
        ))}
      <path d={path(lines.training)} className="curve-line" stroke={seriesColour(0)} />
      <path d={path(lines.validation)} className="curve-line curve-dashed" stroke={seriesColour(1)} />
      {lines.validation.map(({ step, value }) => (
        <circle key={step} cx={at(step)} cy={up(value)} r="3.2" fill={seriesColour(1)}>
          <title>{t("run.curve_point", { step, loss: formats.number(value, 3) })}</title>
        </circle>
      ))}
    </svg>
  );
}

function Mark({ colour, dashed }: { colour: string; dashed?: boolean }) {
  return (
    <svg width="22" height="8" aria-hidden>
      <line x1="0" x2="22" y1="4" y2="4" stroke={colour} strokeWidth="2" {...(dashed && { strokeDasharray: "5 4" })} />
      {dashed && <circle cx="11" cy="4" r="3" fill={colour} />}
    </svg>
  );
}

function Numbers({ curve }: { curve: readonly CurvePoint[] }) {
  const t = useT();
  const shown = curve.slice(-MAX_ROWS);
  return (
    <details>
      <summary>{t("models.numbers")}</summary>
      <div className="plain-box curve-numbers" tabIndex={0} role="region" aria-label={t("models.numbers")}>
        <table className="plain">
          <thead>
            <tr>
              <th scope="col">{t("run.step")}</th>
              <th scope="col">{t("run.loss")}</th>
              <th scope="col">{t("run.validation_loss")}</th>
            </tr>
          </thead>
          <tbody>
            {shown.map(({ step, loss, validation_loss }, index) => (
              <tr key={index}>
                <th scope="row">
                  <Num value={step} />
                </th>
                <td>{loss === null ? <Unknown /> : <Num value={loss} digits={4} />}</td>
                <td>{validation_loss === null ? "" : <Num value={validation_loss} digits={4} />}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}
