/** Queries shared by several pages. Every key starts with the project, so that no project sees another's rows. */
import { infiniteQueryOptions, queryOptions, useQuery } from "@tanstack/react-query";
import { session } from "../auth/session";
import { useStore } from "../lib/store";
import { api, ok } from "./client";
import { problemOf } from "./problem";
import type { Me, Permission, Ready, TaskState } from "./types";

export function projectKey(...rest: readonly unknown[]): readonly unknown[] {
  return [session.projectId, ...rest];
}

export const meQuery = () =>
  queryOptions({
    queryKey: projectKey("me"),
    queryFn: ({ signal }) => ok(api.GET("/api/auth/me", { signal })),
    staleTime: 5 * 60_000,
  });

export const projectsQuery = () =>
  queryOptions({
    queryKey: projectKey("projects"),
    queryFn: async ({ signal }) => (await ok(api.GET("/api/projects", { signal }))).items,
  });

export const modelsQuery = () =>
  queryOptions({
    queryKey: projectKey("models"),
    queryFn: async ({ signal }) => (await ok(api.GET("/api/models", { signal }))).items,
  });

/** The checks that a task may request. They change only with the version of Kairos. */
export const checksQuery = () =>
  queryOptions({
    queryKey: projectKey("checks"),
    queryFn: async ({ signal }) => (await ok(api.GET("/api/checks", { signal }))).items,
    staleTime: Infinity,
  });

export const overviewQuery = () =>
  queryOptions({
    queryKey: projectKey("overview"),
    queryFn: ({ signal }) => ok(api.GET("/api/overview", { signal })),
  });

export const agentsQuery = () =>
  queryOptions({
    queryKey: projectKey("agents"),
    queryFn: ({ signal }) => ok(api.GET("/api/agents", { signal })),
  });

/** All daemons of the installation. No event reports that one started, stopped, or applied a configuration. */
export const daemonsQuery = () =>
  queryOptions({
    queryKey: projectKey("daemons"),
    queryFn: ({ signal }) => ok(api.GET("/api/daemons", { signal })),
    refetchInterval: 5_000,
  });

/** Includes plugins that failed to load. */
export const pluginsQuery = () =>
  queryOptions({
    queryKey: projectKey("plugins"),
    queryFn: async ({ signal }) => (await ok(api.GET("/api/plugins", { signal }))).items,
  });

/** 503 is a valid response here: it names the unavailable component. */
export const readyQuery = () =>
  queryOptions({
    queryKey: projectKey("ready"),
    queryFn: async ({ signal }): Promise<Ready> => {
      const { data, error, response } = await api.GET("/api/health/ready", { signal });
      const ready = data ?? error;
      if (typeof ready !== "object") throw problemOf(response, ready);
      return ready;
    },
    refetchInterval: 30_000,
    retry: false,
  });

export interface TaskFilters {
  state?: TaskState[];
  agent?: string;
  model?: string;
  task_type?: string;
  q?: string;
  /** Only tasks that ended at this time (ISO 8601) or later. */
  ended_since?: string;
  /** `false`: only tasks without a label. */
  labelled?: "true" | "false";
}

function queryOf({ labelled, ...filters }: TaskFilters) {
  return labelled === undefined ? filters : { ...filters, labelled: labelled === "true" };
}

export const tasksQuery = (filters: TaskFilters, limit = 100) =>
  infiniteQueryOptions({
    queryKey: projectKey("tasks", filters),
    queryFn: ({ pageParam, signal }) =>
      ok(api.GET("/api/tasks", { params: { query: { ...queryOf(filters), cursor: pageParam, limit } }, signal })),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next,
    // Refetching every page would interrupt a stream of updates; events update the list in place.
    refetchOnWindowFocus: false,
    structuralSharing: false,
  });

export const taskQuery = (id: string) =>
  queryOptions({
    queryKey: projectKey("task", id),
    queryFn: ({ signal }) => ok(api.GET("/api/tasks/{task_id}", { params: { path: { task_id: id } }, signal })),
  });

export function useProjectId(): string | null {
  return useStore(session).projectId;
}

export function useMe(): Me | undefined {
  useProjectId();
  return useQuery(meQuery()).data;
}

/** Hides actions that the role does not permit. The daemon enforces permissions itself. */
export function useCan(permission: Permission): boolean {
  return useMe()?.permissions.includes(permission) ?? false;
}
