import { expect, it } from "vitest";
import type { ModelOut } from "../../api/types";
import { families } from "./families";

const model = (name: string, base: string | null = null) => ({ name, base }) as ModelOut;

it("groups adapters under their base model and drops none", () => {
  const found = families([model("a"), model("a@p-v2", "a"), model("b"), model("a@p-v1", "a"), model("gone@p-v1", "gone")]);
  expect(found.map((one) => [one.model.name, one.adapters.map(({ name }) => name)])).toEqual([
    ["a", ["a@p-v2", "a@p-v1"]],
    ["b", []],
    ["gone@p-v1", []],
  ]);
});
