import { expect, it } from "vitest";
import { modelOf, modelParams } from "./lib/modelPath";
import { router } from "./routes";

const MODEL = "/models/$name/$";

function matched(path: string) {
  const [, params, route] = router.getMatchedRoutes(path);
  return { path: route?.fullPath, params };
}

it.each(["small", "vendor/large-2.5:7b", "a/b/c", "small@team-v1", "ü 100%/x?y#z", "vendor/add"])("has a page for the model %s", (name) => {
  const { pathname } = router.buildLocation({ to: MODEL, params: modelParams(name) });
  const { path, params } = matched(pathname);
  expect(path).toBe(MODEL);
  expect(modelOf(params as Parameters<typeof modelOf>[0])).toBe(name);
});

it.each(["/models", "/models/"])("shows the list of models at %s", (path) => {
  expect(matched(path).path).toBe("/models");
});

it("does not take the addresses of other pages for names of models", () => {
  const others = Object.keys(router.routesByPath).filter((path) => path !== MODEL);
  expect(others.length).toBeGreaterThan(15);
  for (const path of others) expect(matched(path.replaceAll(/\$\w+/g, "x")).path).toBe(path);
});
