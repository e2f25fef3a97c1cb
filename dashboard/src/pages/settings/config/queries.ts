import { infiniteQueryOptions, queryOptions, type QueryClient } from "@tanstack/react-query";
import { api, call, ok } from "../../../api/client";
import type { Configuration, ConfigVersions, ConfigScope } from "../../../api/contract";
import { projectKey } from "../../../api/queries";

export const configQuery = () =>
  queryOptions({
    queryKey: projectKey("config", "values"),
    queryFn: ({ signal }): Promise<Configuration> => ok(api.GET("/api/config", { signal })),
  });

/** Daemons apply versions without an event. */
export const replicasQuery = () =>
  queryOptions({
    queryKey: projectKey("config", "replicas"),
    queryFn: ({ signal }) => ok(api.GET("/api/config/replicas", { signal })),
    refetchInterval: 5_000,
  });

export const historyQuery = (scope: ConfigScope) =>
  infiniteQueryOptions({
    queryKey: projectKey("config", "history", scope),
    queryFn: ({ pageParam, signal }) =>
      call<ConfigVersions>("GET", "/api/config/history", { query: { whose: scope, before: pageParam, limit: 20 }, signal }),
    initialPageParam: null as number | null,
    getNextPageParam: (page) => page.next,
  });

export function configChanged(client: QueryClient): void {
  void client.invalidateQueries({ queryKey: projectKey("config") });
  void client.invalidateQueries({ queryKey: projectKey("project") });
}
