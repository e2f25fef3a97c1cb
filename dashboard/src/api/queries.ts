/** Queries shared by several pages. Every key starts with the project, so that no project sees another's rows. */
import { infiniteQueryOptions, queryOptions, useQuery } from "@tanstack/react-query";
import { session } from "../auth/session";
import { useStore } from "../lib/store";
import { api, call, ok } from "./client";
import type { AgentList, Items, Me, Page, Permission, PluginOut, Ready, TaskDetail, TaskOut, TaskState } from "./contract";

export function projectKey(...rest: readonly unknown[]): readonly unknown[] {
  return [session.projectId, ...rest];
}

export const meQuery = () =>
  queryOptions({
    queryKey: projectKey("me"),
    queryFn: ({ signal }) => call<Me>("GET", "/api/auth/me", { signal }),
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
    queryFn: ({ signal }) => call<AgentList>("GET", "/api/agents", { signal }),
  });

/** Includes plugins that failed to load. */
export const pluginsQuery = () =>
  queryOptions({
    queryKey: projectKey("plugins"),
    queryFn: async ({ signal }) => (await call<Items<PluginOut>>("GET", "/api/plugins", { signal })).items,
  });

/** 503 is a valid response here: it names the unavailable component. */
export const readyQuery = () =>
  queryOptions({
    queryKey: projectKey("ready"),
    queryFn: async ({ signal }): Promise<Ready> => {
      const response = await fetch("/api/health/ready", { signal });
      return (await response.json()) as Ready;
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

/** A row of the list. A row added by a live event has only these fields until it is fetched. */
export type TaskRow = Pick<
  TaskOut,
  | "id"
  | "state"
  | "prompt"
  | "agent"
  | "model"
  | "task_type"
  | "created_at"
  | "started_at"
  | "finished_at"
  | "attempts"
> &
  Partial<TaskOut>;

export const tasksQuery = (filters: TaskFilters, limit = 100) =>
  infiniteQueryOptions({
    queryKey: projectKey("tasks", filters),
    queryFn: ({ pageParam, signal }) =>
      call<Page<TaskRow>>("GET", "/api/tasks", { query: { ...filters, cursor: pageParam, limit }, signal }),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next,
    // Refetching every page would interrupt a stream of updates; events update the list in place.
    refetchOnWindowFocus: false,
    structuralSharing: false,
  });

export const taskQuery = (id: string) =>
  queryOptions({
    queryKey: projectKey("task", id),
    queryFn: ({ signal }) => call<TaskDetail>("GET", `/api/tasks/${encodeURIComponent(id)}`, { signal }),
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
