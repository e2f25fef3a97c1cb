import { queryOptions } from "@tanstack/react-query";
import { call } from "../../api/client";
import type { InvitationOut, Items, KeyOut, MemberOut, ProjectDetail, SessionOut } from "../../api/contract";
import { projectKey } from "../../api/queries";

export const projectQuery = (id: string) =>
  queryOptions({
    queryKey: projectKey("project"),
    queryFn: ({ signal }) => call<ProjectDetail>("GET", `/api/projects/${id}`, { signal }),
  });

export const membersQuery = () =>
  queryOptions({
    queryKey: projectKey("members"),
    queryFn: async ({ signal }) => (await call<Items<MemberOut>>("GET", "/api/members", { signal })).items,
  });

export const invitationsQuery = () =>
  queryOptions({
    queryKey: projectKey("invitations"),
    queryFn: async ({ signal }) => (await call<Items<InvitationOut>>("GET", "/api/invitations", { signal })).items,
  });

export const keysQuery = () =>
  queryOptions({
    queryKey: projectKey("keys"),
    queryFn: async ({ signal }) => (await call<Items<KeyOut>>("GET", "/api/keys", { signal })).items,
  });

export const sessionsQuery = () =>
  queryOptions({
    queryKey: projectKey("sessions"),
    queryFn: async ({ signal }) => (await call<Items<SessionOut>>("GET", "/api/auth/sessions", { signal })).items,
  });
