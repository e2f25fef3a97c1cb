/**
 * The endpoints of shared providers and of the project's own ones. Keys are sent in bodies only and are never part of
 * a query or mutation, whose caches would keep them.
 */
import { queryOptions } from "@tanstack/react-query";
import { api, ok } from "../../../api/client";
import { queryClient } from "../../../api/queryClient";
import { projectKey, useMe } from "../../../api/queries";
import type { Me, ModelBody, ModelPatch, ProviderBody, ProviderOut, ProviderPatch, TestBody, TestOut } from "../../../api/types";

/** `shared`: of all projects, for operators; `project`: of the active project, for its owners. */
export type ProviderScope = "shared" | "project";

const base = (scope: ProviderScope) => (scope === "shared" ? "/api/providers" : "/api/project/providers");

export function scopesOf(me: Me | undefined): ProviderScope[] {
  const scopes: ProviderScope[] = [];
  if (me?.operator) scopes.push("shared");
  if (me?.permissions.includes("providers:manage")) scopes.push("project");
  return scopes;
}

/** The scopes in which the user may add providers; undefined while it is not known. */
export function useScopes(): ProviderScope[] | undefined {
  const me = useMe();
  return me && scopesOf(me);
}

export const kindsQuery = () =>
  queryOptions({
    queryKey: projectKey("provider-kinds"),
    queryFn: async ({ signal }) => (await ok(api.GET("/api/providers/kinds", { signal }))).items,
    staleTime: Infinity,
  });

export const localServersQuery = () =>
  queryOptions({
    queryKey: projectKey("local-servers"),
    queryFn: ({ signal }) => ok(api.GET("/api/providers/local", { signal })),
    staleTime: 0,
    retry: false,
    refetchOnWindowFocus: false,
  });

export const providersQuery = (scope: ProviderScope) =>
  queryOptions({
    queryKey: projectKey("providers", scope),
    queryFn: async ({ signal }) => (await ok(api.GET(base(scope), { signal }))).items,
  });

export const providerQuery = (scope: ProviderScope, id: string) =>
  queryOptions({
    queryKey: projectKey("provider", scope, id),
    queryFn: ({ signal }) => ok(api.GET(`${base(scope)}/{provider_id}`, { params: { path: { provider_id: id } }, signal })),
    // A refetch during an edit would hide that someone else changed the provider.
    refetchOnWindowFocus: false,
  });

export function testServer(scope: ProviderScope, body: TestBody): Promise<TestOut> {
  return ok(api.POST(`${base(scope)}/test`, { body }));
}

export function listUpstream(scope: ProviderScope, id: string, search?: string): Promise<TestOut> {
  return ok(api.GET(`${base(scope)}/{provider_id}/models`, { params: { path: { provider_id: id }, query: { search: search || null } } }));
}

export async function createProvider(scope: ProviderScope, body: ProviderBody): Promise<ProviderOut> {
  return changed(scope, await ok(api.POST(base(scope), { body })));
}

export async function changeProvider(scope: ProviderScope, id: string, body: ProviderPatch): Promise<ProviderOut> {
  const params = { path: { provider_id: id } };
  return changed(scope, await ok(api.PATCH(`${base(scope)}/{provider_id}`, { params, body })));
}

export async function removeProvider(scope: ProviderScope, id: string): Promise<void> {
  await ok(api.DELETE(`${base(scope)}/{provider_id}`, { params: { path: { provider_id: id } } }));
  queryClient.removeQueries({ queryKey: projectKey("provider", scope, id) });
  refreshLists();
}

export async function addModels(scope: ProviderScope, id: string, models: ModelBody[]): Promise<ProviderOut> {
  const params = { path: { provider_id: id } };
  return changed(scope, await ok(api.POST(`${base(scope)}/{provider_id}/models`, { params, body: { models } })));
}

export async function changeModel(scope: ProviderScope, id: string, modelId: string, body: ModelPatch): Promise<ProviderOut> {
  const params = { path: { provider_id: id, model_id: modelId } };
  return changed(scope, await ok(api.PATCH(`${base(scope)}/{provider_id}/models/{model_id}`, { params, body })));
}

export async function removeModel(scope: ProviderScope, id: string, modelId: string): Promise<void> {
  await ok(api.DELETE(`${base(scope)}/{provider_id}/models/{model_id}`, { params: { path: { provider_id: id, model_id: modelId } } }));
  await queryClient.invalidateQueries({ queryKey: projectKey("provider", scope, id) });
  refreshLists();
}

function changed(scope: ProviderScope, provider: ProviderOut): ProviderOut {
  queryClient.setQueryData(projectKey("provider", scope, provider.id), provider);
  refreshLists();
  return provider;
}

function refreshLists(): void {
  for (const name of ["providers", "models", "local-servers"]) void queryClient.invalidateQueries({ queryKey: projectKey(name) });
}
