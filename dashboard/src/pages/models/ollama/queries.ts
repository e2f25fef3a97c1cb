import { queryOptions } from "@tanstack/react-query";
import { api, ok } from "../../../api/client";
import { projectKey } from "../../../api/queries";
import type { components } from "../../../api/schema";

type Schemas = components["schemas"];
export type OllamaOut = Schemas["OllamaOut"];
export type InstalledOut = Schemas["InstalledOut"];
export type LoadedOut = Schemas["LoadedOut"];
export type PullOut = Schemas["PullOut"];

/** A provider of the active project, or one that all projects share. */
export interface Which {
  providerId: string;
  own: boolean;
}

const LISTED_MS = 15_000;
const RUNNING_MS = 1_000;

function path({ providerId }: Which) {
  return { provider_id: providerId };
}

/** Models are loaded and unloaded without an event. */
export const ollamaQuery = (which: Which) =>
  queryOptions({
    queryKey: projectKey("ollama", which.providerId, which.own),
    queryFn: ({ signal }) => {
      const options = { params: { path: path(which) }, signal };
      return ok(
        which.own
          ? api.GET("/api/project/providers/{provider_id}/ollama/models", options)
          : api.GET("/api/providers/{provider_id}/ollama/models", options),
      );
    },
    refetchInterval: LISTED_MS,
  });

export const pullsQuery = (which: Which) =>
  queryOptions({
    queryKey: projectKey("ollama-pulls", which.providerId, which.own),
    queryFn: async ({ signal }) => {
      const options = { params: { path: path(which) }, signal };
      const { items } = await ok(
        which.own
          ? api.GET("/api/project/providers/{provider_id}/ollama/pulls", options)
          : api.GET("/api/providers/{provider_id}/ollama/pulls", options),
      );
      return items;
    },
    refetchInterval: ({ state }) => (state.data?.some((pull) => pull.state === "running") ? RUNNING_MS : LISTED_MS),
  });

export function startPull(which: Which, model: string): Promise<PullOut> {
  const options = { params: { path: path(which) }, body: { model, insecure: false } };
  return ok(
    which.own
      ? api.POST("/api/project/providers/{provider_id}/ollama/pulls", options)
      : api.POST("/api/providers/{provider_id}/ollama/pulls", options),
  );
}

export function cancelPull(which: Which, pullId: string): Promise<PullOut> {
  const options = { params: { path: { ...path(which), pull_id: pullId } } };
  return ok(
    which.own
      ? api.POST("/api/project/providers/{provider_id}/ollama/pulls/{pull_id}/cancel", options)
      : api.POST("/api/providers/{provider_id}/ollama/pulls/{pull_id}/cancel", options),
  );
}

export async function deleteModel(which: Which, name: string): Promise<void> {
  const options = { params: { path: { ...path(which), name } } };
  await ok(
    which.own
      ? api.DELETE("/api/project/providers/{provider_id}/ollama/models/{name}", options)
      : api.DELETE("/api/providers/{provider_id}/ollama/models/{name}", options),
  );
}

/** The catalogue's terms for what a model can do. It learns about JSON schemas from calls. */
const CAPABILITIES = ["tools", "vision"];

export async function addToCatalogue(which: Which, model: InstalledOut): Promise<void> {
  const capabilities = (model.capabilities ?? []).filter((one) => CAPABILITIES.includes(one));
  const options = {
    params: { path: path(which) },
    body: { models: [{ upstream: model.name, capabilities, specialties: [], enabled: true }] },
  };
  await ok(
    which.own
      ? api.POST("/api/project/providers/{provider_id}/models", options)
      : api.POST("/api/providers/{provider_id}/models", options),
  );
}
