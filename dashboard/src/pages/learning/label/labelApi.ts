import { api, ok } from "../../../api/client";
import type { LabelApi } from "./labelSession";

const row = (id: string) => ({ path: { sample_id: id } });

export const labelApi: LabelApi = {
  // 204 without a body: no samples to label.
  next: async (skip) => (await ok(api.POST("/api/dataset/next", { params: { query: { skip: [...skip] } } }))) ?? null,
  get: (id) => ok(api.GET("/api/dataset/{sample_id}", { params: row(id) })),
  change: ({ id, version }, change) => ok(api.PATCH("/api/dataset/{sample_id}", { params: row(id), body: { ...change, version } })),
  clear: ({ id, version }) => ok(api.POST("/api/dataset/{sample_id}/clear-secrets", { params: row(id), body: { version } })),
  undo: (id) => ok(api.POST("/api/dataset/{sample_id}/undo", { params: row(id) })),
};
