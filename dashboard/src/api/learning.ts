/** Fine-tuning runs and adapters. */
import type { components } from "./schema";

type Schemas = components["schemas"];

export type RunState = Schemas["RunState"];
export type CurvePoint = Schemas["CurvePoint"];
export type Run = Schemas["RunOut"];
export type Base = Schemas["BaseOut"];
export type Room = Schemas["Amount"];
export type Plan = Schemas["PlanOut"];
export type Review = Schemas["ReviewOut"];
export type Kind = Schemas["SampleKindOut"];
export type Conflict = Schemas["ConflictOut"];
export type Advice = Schemas["AdviceOut"];
export type BaseCheck = Schemas["BaseCheckOut"];
export type AdapterState = Schemas["AdapterState"];
export type Ruling = Schemas["GateOutcome"];
export type Adapter = Schemas["AdapterOut"];
export type Pair = Schemas["PairOut"];
export type Comparison = Schemas["ComparisonOut"];
export type Report = Schemas["ReportOut"];
export type LineageRow = Schemas["AdapterSampleOut"];
export type AdapterDetail = Schemas["AdapterDetail"];

export function isActive({ state }: Pick<Run, "state">): boolean {
  return state === "waiting" || state === "training" || state === "evaluating";
}

/** True while the host should serve the adapter but does not yet. It may be loading; no event reports the end. */
export function isLoading({ serving }: Pick<Adapter, "serving">): boolean {
  return serving.state === "waiting";
}
