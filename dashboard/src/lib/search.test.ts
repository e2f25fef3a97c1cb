import { expect, it } from "vitest";
import { many, one, parseSearch, stringifySearch } from "./search";

it("parses its own output as text", () => {
  const search = { q: "007 & more", state: ["failed", "dead"], agent: undefined };
  const text = stringifySearch(search);
  expect(text).toBe("?q=007+%26+more&state=failed&state=dead");
  expect(parseSearch(text)).toEqual({ q: "007 & more", state: ["failed", "dead"] });
});

it("drops unknown parameters", () => {
  expect(many("nonsense", ["failed"])).toBeUndefined();
  expect(many(["failed", "x"], ["failed"])).toEqual(["failed"]);
  expect(one(["a", "b"])).toBe("a");
  expect(one("")).toBeUndefined();
});
