import { expect, it } from "vitest";
import { parseSearch } from "./lib/search";
import { router } from "./routes";

const MODEL = "/models/details";
const PIECES = [..."./?#%&=+: \\@;é😀\n", "..", "%2F", "%2e", "add", "details", "providers", "true", "7", "null"];
/** Texts of one or two pieces: characters with a meaning in addresses, other pages, and values of JSON. */
const NAMES = PIECES.flatMap((first) => [first, ...PIECES.flatMap((last) => [first + last, `${first}/${last}`])]);

function matched(path: string) {
  const [, , route] = router.getMatchedRoutes(path);
  return route?.fullPath;
}

/** The name in the address of a model's page, as a browser reads the address. */
function nameInAddress(name: string): { path?: string; search: unknown } {
  const { pathname, search } = new URL(router.buildLocation({ to: MODEL, search: { name } }).href, "http://kairos.test");
  return { path: matched(pathname), search: parseSearch(search) };
}

it("has a page for every model", () => {
  expect(NAMES.length).toBeGreaterThan(1000);
  const wrong = NAMES.filter((name) => {
    const { path, search } = nameInAddress(name);
    return path !== MODEL || JSON.stringify(search) !== JSON.stringify({ name });
  });
  expect(wrong).toEqual([]);
});

it.each(["/models", "/models/"])("shows the list of models at %s", (path) => {
  expect(matched(path)).toBe("/models");
});

it("has one page for each address", () => {
  const paths = Object.keys(router.routesByPath);
  expect(paths.length).toBeGreaterThan(15);
  for (const path of paths) expect(matched(path.replaceAll(/\$\w+/g, "x"))).toBe(path);
});
