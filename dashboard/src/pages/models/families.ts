import type { ModelOut } from "../../api/types";

export interface Family {
  model: ModelOut;
  adapters: ModelOut[];
}

/**
 * Each model with its adapters, in the given order. An adapter without its base model is listed alone, because it can
 * still be called.
 */
export function families(models: readonly ModelOut[]): Family[] {
  const names = new Set(models.map(({ name }) => name));
  const below = (model: ModelOut) => model.base !== null && names.has(model.base);
  return models
    .filter((model) => !below(model))
    .map((model) => ({ model, adapters: models.filter((one) => below(one) && one.base === model.name) }));
}
