import { call } from "../../../api/client";
import type { SampleOut } from "../../../api/contract";
import type { DeskApi } from "./desk";

const path = (id: string) => `/api/dataset/${encodeURIComponent(id)}`;

export const deskApi: DeskApi = {
  // 204 has no body: nothing waits.
  next: async (skip) => (await call<SampleOut | undefined>("POST", "/api/dataset/next", { query: { skip } })) ?? null,
  get: (id) => call<SampleOut>("GET", path(id)),
  change: ({ id, version }, change) => call<SampleOut>("PATCH", path(id), { body: { ...change, version } }),
  clear: ({ id, version }) => call<SampleOut>("POST", `${path(id)}/clear-secrets`, { body: { version } }),
  undo: (id) => call<SampleOut>("POST", `${path(id)}/undo`),
};
