import type { components } from "../api/schema";

type Schemas = components["schemas"];

export type LiveEvent = Schemas["LiveEventOut"];
export type LiveDelta = Schemas["LiveDeltaOut"];
export type LiveMessage = Schemas["LiveMessageOut"];

export const CLOSE = { sessionEnded: 4401, notMember: 4403, tooSlow: 4408 } as const;
