import { queryOptions } from "@tanstack/react-query";
import { api, ok } from "../../api/client";
import type { components } from "../../api/schema";
import { projectKey } from "../../api/queries";

export type Standing = components["schemas"]["ModelResultOut"];

export const leaderboardQuery = (days: number) =>
  queryOptions({
    queryKey: projectKey("leaderboard", days),
    queryFn: ({ signal }) => ok(api.GET("/api/leaderboard", { params: { query: { days } }, signal })),
  });

export const trafficQuery = (days: number) =>
  queryOptions({
    queryKey: projectKey("traffic", days),
    queryFn: async ({ signal }) =>
      (await ok(api.GET("/api/router/traffic", { params: { query: { days } }, signal }))).items,
  });

export const cacheQuery = () =>
  queryOptions({
    queryKey: projectKey("cache"),
    queryFn: ({ signal }) => ok(api.GET("/api/cache", { signal })),
  });

export const judgeQuery = (days: number) =>
  queryOptions({
    queryKey: projectKey("judge", days),
    queryFn: ({ signal }) => ok(api.GET("/api/judge", { params: { query: { days } }, signal })),
  });
