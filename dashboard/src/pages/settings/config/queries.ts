import { infiniteQueryOptions, queryOptions, type QueryClient } from "@tanstack/react-query";
import { api, ok } from "../../../api/client";
import type { ConfigOut, ConfigScope } from "../../../api/types";
import { projectKey } from "../../../api/queries";

export const configQuery = () =>
  queryOptions({
    queryKey: projectKey("config", "values"),
    queryFn: ({ signal }): Promise<ConfigOut> => ok(api.GET("/api/config", { signal })),
  });

export const historyQuery = (scope: ConfigScope) =>
  infiniteQueryOptions({
    queryKey: projectKey("config", "history", scope),
    queryFn: ({ pageParam, signal }) =>
      ok(api.GET("/api/config/history", { params: { query: { whose: scope, before: pageParam, limit: 20 } }, signal })),
    initialPageParam: null as number | null,
    getNextPageParam: (page) => page.next,
  });

export function configChanged(client: QueryClient): void {
  void client.invalidateQueries({ queryKey: projectKey("config") });
  void client.invalidateQueries({ queryKey: projectKey("daemons") });
  void client.invalidateQueries({ queryKey: projectKey("project") });
}
