import type { ModelOut } from "../../api/contract";

export interface Family {
  model: ModelOut;
  adapters: ModelOut[];
}

/** Each model with its adapters, in the order given. One whose base is not there stands alone: it can be called all the same. */
export function families(models: readonly ModelOut[]): Family[] {
  const names = new Set(models.map(({ name }) => name));
  const below = (model: ModelOut) => model.base !== null && names.has(model.base);
  return models
    .filter((model) => !below(model))
    .map((model) => ({ model, adapters: models.filter((one) => below(one) && one.base === model.name) }));
}
