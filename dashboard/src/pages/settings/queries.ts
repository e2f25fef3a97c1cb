import { queryOptions } from "@tanstack/react-query";
import { api, ok } from "../../api/client";
import { projectKey } from "../../api/queries";

export const projectQuery = (id: string) =>
  queryOptions({
    queryKey: projectKey("project"),
    queryFn: ({ signal }) => ok(api.GET("/api/projects/{project_id}", { params: { path: { project_id: id } }, signal })),
  });

export const membersQuery = () =>
  queryOptions({
    queryKey: projectKey("members"),
    queryFn: async ({ signal }) => (await ok(api.GET("/api/members", { signal }))).items,
  });

export const invitationsQuery = () =>
  queryOptions({
    queryKey: projectKey("invitations"),
    queryFn: async ({ signal }) => (await ok(api.GET("/api/invitations", { signal }))).items,
  });

export const keysQuery = () =>
  queryOptions({
    queryKey: projectKey("keys"),
    queryFn: async ({ signal }) => (await ok(api.GET("/api/keys", { signal }))).items,
  });

export const sessionsQuery = () =>
  queryOptions({
    queryKey: projectKey("sessions"),
    queryFn: async ({ signal }) => (await ok(api.GET("/api/auth/sessions", { signal }))).items,
  });
