import { queryOptions } from "@tanstack/react-query";
import { api, ok } from "../../../api/client";
import { projectKey } from "../../../api/queries";
import type { components } from "../../../api/schema";

export type History = components["schemas"]["ModelHistory"];
export type PeriodOut = components["schemas"]["PeriodOut"];
export type PreviewedScoreOut = components["schemas"]["PreviewedScoreOut"];
export type TaskTypeRoutingOut = components["schemas"]["TaskTypeRoutingOut"];

/** Calls and decisions are not announced by events of their own. */
const REFETCH_MS = 30_000;

export const historyQuery = (model: string, days: number) =>
  queryOptions({
    queryKey: projectKey("models", model, "history", days),
    queryFn: ({ signal }) =>
      ok(api.GET("/api/models/history", { params: { query: { name: model, days } }, signal })),
    refetchInterval: REFETCH_MS,
  });

export const routingQuery = (model: string, days: number) =>
  queryOptions({
    queryKey: projectKey("models", model, "routing", days),
    queryFn: async ({ signal }) =>
      (await ok(api.GET("/api/models/routing", { params: { query: { name: model, days } }, signal }))).items,
    refetchInterval: REFETCH_MS,
  });
