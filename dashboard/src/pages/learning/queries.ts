import { infiniteQueryOptions, queryOptions, type QueryClient } from "@tanstack/react-query";
import { api, call, ok } from "../../api/client";
import type { DatasetStats, Items, Page, SampleDetail, SampleOut } from "../../api/contract";
import { isUnderWay, type Adapter, type AdapterDetail, type Base, type Run } from "../../api/learning";
import { projectKey } from "../../api/queries";
import type { SampleFilters } from "./filters";

export const statsQuery = () =>
  queryOptions({
    queryKey: projectKey("dataset", "stats"),
    queryFn: ({ signal }): Promise<DatasetStats> => ok(api.GET("/api/dataset/stats", { signal })),
  });

export const samplesQuery = (filters: SampleFilters) =>
  infiniteQueryOptions({
    queryKey: projectKey("dataset", "rows", filters),
    queryFn: ({ pageParam, signal }) =>
      call<Page<SampleOut>>("GET", "/api/dataset", { query: { ...filters, cursor: pageParam, limit: 50 }, signal }),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next,
  });

export const sampleQuery = (id: string) =>
  queryOptions({
    queryKey: projectKey("dataset", "row", id),
    queryFn: ({ signal }) => call<SampleDetail>("GET", `/api/dataset/${encodeURIComponent(id)}`, { signal }),
  });

/** After a row was changed: the lists, the sums, and what the overview says of them. */
export function datasetChanged(client: QueryClient): void {
  void client.invalidateQueries({ queryKey: projectKey("dataset") });
  void client.invalidateQueries({ queryKey: projectKey("overview") });
}

const EACH_SECOND = 1000;

export const runsQuery = () =>
  queryOptions({
    queryKey: projectKey("training", "runs"),
    queryFn: async ({ signal }) => (await call<Items<Run>>("GET", "/api/training", { signal })).items,
    refetchInterval: ({ state }) => (state.data?.some(isUnderWay) ? 5 * EACH_SECOND : false),
  });

export const runQuery = (id: string) =>
  queryOptions({
    queryKey: projectKey("training", "run", id),
    queryFn: ({ signal }) => call<Run>("GET", `/api/training/${encodeURIComponent(id)}`, { signal }),
    refetchInterval: ({ state }) => (state.data && isUnderWay(state.data) ? EACH_SECOND : false),
  });

export const basesQuery = () =>
  queryOptions({
    queryKey: projectKey("training", "bases"),
    queryFn: async ({ signal }) => (await call<Items<Base>>("GET", "/api/training/bases", { signal })).items,
  });

export const adaptersQuery = () =>
  queryOptions({
    queryKey: projectKey("adapters"),
    queryFn: async ({ signal }) => (await call<Items<Adapter>>("GET", "/api/adapters", { signal })).items,
  });

export const adapterQuery = (id: string) =>
  queryOptions({
    queryKey: projectKey("adapters", id),
    queryFn: ({ signal }) => call<AdapterDetail>("GET", `/api/adapters/${encodeURIComponent(id)}`, { signal }),
  });
