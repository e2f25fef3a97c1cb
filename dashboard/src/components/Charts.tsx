/** Small SVG charts. Each has a text label; pages also show the numbers as text. */
import type { ReactNode } from "react";
import { formatNumber } from "../i18n/format";
import "./Charts.css";

export const SERIES = [1, 2, 3, 4, 5, 6].map((n) => `var(--series-${n})`);

export function seriesColour(index: number): string {
  return SERIES[index % SERIES.length] ?? "var(--series-6)";
}

export interface BarTerm {
  name: string;
  value: number;
}

export interface BarsProps {
  /** One line per candidate: its terms side by side, negative terms to the left of the centre line. */
  lines: { name: ReactNode; key: string; terms: BarTerm[]; total: number; marked?: boolean }[];
  /** Term names in the order of their colours; default: order of first occurrence. */
  order?: string[];
  termLabel?: (name: string) => string;
  label: string;
}

/** Horizontal score terms, on one scale for all lines. */
export function Bars({ lines, order, termLabel = (name) => name, label }: BarsProps) {
  const names = order ?? [...new Set(lines.flatMap((line) => line.terms.map((term) => term.name)))];
  const sum = (terms: BarTerm[], sign: 1 | -1) =>
    terms.reduce((total, term) => total + Math.max(0, term.value * sign), 0);
  const left = Math.max(0, ...lines.map((line) => sum(line.terms, -1)));
  const right = Math.max(0, ...lines.map((line) => sum(line.terms, 1)));
  const scale = 100 / (left + right || 1);
  return (
    <figure className="bars" aria-label={label}>
      {lines.map((line) => {
        let below = left;
        let above = left;
        return (
          <div key={line.key} className={line.marked ? "bars-line bars-marked" : "bars-line"}>
            <span className="truncate">{line.name}</span>
            <svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden>
              {line.terms.map((term) => {
                const width = Math.abs(term.value);
                if (term.value < 0) below -= width;
                const x = term.value < 0 ? below : above;
                if (term.value >= 0) above += width;
                return (
                  <rect key={term.name} x={x * scale} width={width * scale} y="0" height="10" fill={seriesColour(names.indexOf(term.name))}>
                    <title>{`${termLabel(term.name)} ${formatNumber(term.value, 3)}`}</title>
                  </rect>
                );
              })}
              {left > 0 && <line x1={left * scale} x2={left * scale} y1="0" y2="10" className="bars-zero" />}
            </svg>
            <span className="bars-total">{formatNumber(line.total, 3)}</span>
            <span className="visually-hidden">
              {line.terms.map((term) => `${termLabel(term.name)} ${formatNumber(term.value, 3)}`).join(", ")}
            </span>
          </div>
        );
      })}
      <Legend names={names} label={termLabel} />
    </figure>
  );
}

export function Legend({ names, label = (name) => name }: { names: string[]; label?: (name: string) => string }) {
  return (
    <figcaption className="legend">
      {names.map((name, index) => (
        <span key={name} className="legend-item">
          <span className="legend-mark" style={{ background: seriesColour(index) }} aria-hidden />
          {label(name)}
        </span>
      ))}
    </figcaption>
  );
}

export interface SparklineProps {
  /** Null is a day without measurements and leaves a gap in the line. */
  values: (number | null)[];
  label: string;
  width?: number;
  height?: number;
  /** Ends of the scale; default: the range of the values. */
  min?: number;
  max?: number;
}

export function Sparkline({ values, label, width = 120, height = 28, min, max }: SparklineProps) {
  const known = values.filter((value) => value !== null);
  if (known.length === 0) return null;
  const low = min ?? Math.min(...known);
  const high = max ?? Math.max(...known);
  const x = (index: number) => 2 + (index * (width - 4)) / Math.max(1, values.length - 1);
  const y = (value: number) => height - 3 - ((value - low) / (high - low || 1)) * (height - 6);
  let path = "";
  let pen = false;
  values.forEach((value, index) => {
    if (value !== null) path += `${pen ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = value !== null;
  });
  const last = values.findLastIndex((value) => value !== null);
  return (
    <svg width={width} height={height} role="img" aria-label={label} className="sparkline">
      <path d={path} fill="none" stroke="var(--accent)" strokeWidth="1.5" strokeLinejoin="round" />
      <circle cx={x(last)} cy={y(values[last] ?? low)} r="2.2" fill="var(--accent)" />
    </svg>
  );
}

export interface StackedBandProps {
  label: string;
  /** From left to right; each with one value per name. */
  columns: { key: string; title: string; values: Record<string, number> }[];
  names: string[];
  height?: number;
  /** Draws shares of each column instead of sums. */
  shares?: boolean;
}

/** A stacked chart of how the parts of a total change over time. */
export function StackedBand({ label, columns, names, height = 120, shares = true }: StackedBandProps) {
  const total = (values: Record<string, number>) => names.reduce((sum, name) => sum + (values[name] ?? 0), 0);
  const most = Math.max(1e-9, ...columns.map((column) => total(column.values)));
  return (
    <figure className="band">
      <svg viewBox={`0 0 ${columns.length * 10} 100`} preserveAspectRatio="none" height={height} role="img" aria-label={label}>
        {columns.map((column, at) => {
          const whole = shares ? total(column.values) : most;
          let top = 100;
          return names.map((name, series) => {
            const part = whole > 0 ? ((column.values[name] ?? 0) / whole) * 100 : 0;
            top -= part;
            if (part === 0) return null;
            return (
              <rect key={`${column.key} ${name}`} x={at * 10 + 0.5} width="9" y={top} height={part} fill={seriesColour(series)}>
                <title>{`${column.title}: ${name} ${formatNumber(column.values[name] ?? 0, 2)}`}</title>
              </rect>
            );
          });
        })}
      </svg>
      <div className="band-ends muted small">
        <span>{columns[0]?.title}</span>
        <span>{columns.at(-1)?.title}</span>
      </div>
      <Legend names={names} />
    </figure>
  );
}
