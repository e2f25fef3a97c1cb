import type { CurvePoint, Run } from "../../../api/learning";

/** Share of the training steps; null when there are none, or when the run has ended. */
export function shareDone({ state, progress }: Pick<Run, "state" | "progress">): number | null {
  const { step, steps } = progress;
  if (state !== "training" || step == null || !steps) return null;
  return Math.min(1, step / steps);
}

export interface Axis {
  low: number;
  high: number;
  /** Round numbers within the range. */
  ticks: number[];
}

/** Returns about `wanted` round ticks that cover all `values`. */
export function axisOf(values: readonly number[], wanted = 4): Axis {
  if (values.length === 0) return { low: 0, high: 1, ticks: [0, 1] };
  const low = Math.min(...values);
  const high = Math.max(...values);
  const span = high - low || Math.abs(high) || 1;
  const rough = span / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((one) => one * power >= rough) ?? 10) * power;
  const first = Math.floor(low / step);
  const last = Math.max(first + 1, Math.ceil(high / step));
  const ticks = Array.from({ length: last - first + 1 }, (_, n) => Number(((first + n) * step).toPrecision(12)));
  return { low: ticks[0] ?? low, high: ticks.at(-1) ?? high, ticks };
}

type Series = "loss" | "validation_loss";

/** The measured points of one series. Values that are not finite (a loss may overflow) are omitted. */
export function pointsOf(curve: readonly CurvePoint[], series: Series): { step: number; value: number }[] {
  return curve.flatMap(({ step, [series]: value }) => (value != null && Number.isFinite(value) ? [{ step, value }] : []));
}

/** The step with the lowest validation loss; after it the adapter overfits. */
export function best(curve: readonly CurvePoint[]): { step: number; value: number } | null {
  const points = pointsOf(curve, "validation_loss");
  return points.reduce<(typeof points)[number] | null>((least, one) => (!least || one.value < least.value ? one : least), null);
}
