import { infiniteQueryOptions, queryOptions, type QueryClient } from "@tanstack/react-query";
import { api, ok } from "../../api/client";
import { isLoading, isActive } from "../../api/learning";
import { projectKey } from "../../api/queries";
import type { SampleFilters } from "./filters";

export const statsQuery = () =>
  queryOptions({
    queryKey: projectKey("dataset", "stats"),
    queryFn: ({ signal }) => ok(api.GET("/api/dataset/stats", { signal })),
  });

export const samplesQuery = (filters: SampleFilters) =>
  infiniteQueryOptions({
    queryKey: projectKey("dataset", "rows", filters),
    queryFn: ({ pageParam, signal }) =>
      ok(api.GET("/api/dataset", { params: { query: { ...filters, cursor: pageParam, limit: 50 } }, signal })),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next,
  });

export const sampleQuery = (id: string) =>
  queryOptions({
    queryKey: projectKey("dataset", "row", id),
    queryFn: ({ signal }) => ok(api.GET("/api/dataset/{sample_id}", { params: { path: { sample_id: id } }, signal })),
  });

/** Invalidates the lists, totals and the overview after a sample has changed. */
export function datasetChanged(client: QueryClient): void {
  void client.invalidateQueries({ queryKey: projectKey("dataset") });
  void client.invalidateQueries({ queryKey: projectKey("overview") });
}

const SECOND_MS = 1000;

export const runsQuery = () =>
  queryOptions({
    queryKey: projectKey("training", "runs"),
    queryFn: async ({ signal }) => (await ok(api.GET("/api/training", { signal }))).items,
    refetchInterval: ({ state }) => (state.data?.some(isActive) ? 5 * SECOND_MS : false),
  });

export const runQuery = (id: string) =>
  queryOptions({
    queryKey: projectKey("training", "run", id),
    queryFn: ({ signal }) => ok(api.GET("/api/training/{run_id}", { params: { path: { run_id: id } }, signal })),
    refetchInterval: ({ state }) => (state.data && isActive(state.data) ? SECOND_MS : false),
  });

export const basesQuery = () =>
  queryOptions({
    queryKey: projectKey("training", "bases"),
    queryFn: async ({ signal }) => (await ok(api.GET("/api/training/bases", { signal }))).items,
  });

export const adaptersQuery = () =>
  queryOptions({
    queryKey: projectKey("adapters"),
    queryFn: async ({ signal }) => (await ok(api.GET("/api/adapters", { signal }))).items,
    refetchInterval: ({ state }) => (state.data?.some(isLoading) ? 5 * SECOND_MS : false),
  });

export const adapterQuery = (id: string) =>
  queryOptions({
    queryKey: projectKey("adapters", id),
    queryFn: ({ signal }) => ok(api.GET("/api/adapters/{adapter_id}", { params: { path: { adapter_id: id } }, signal })),
    refetchInterval: ({ state }) => (state.data && isLoading(state.data) ? 5 * SECOND_MS : false),
  });
