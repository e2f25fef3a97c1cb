import { expect, it } from "vitest";
import { queryOf } from "./search";

it("covers whole days in the reader's time zone and ignores invalid days", () => {
  const { since, until } = queryOf({ since: "2026-03-01", until: "2026-03-01" });
  expect(Date.parse(until ?? "") - Date.parse(since ?? "")).toBe(86_400_000);
  expect(queryOf({ since: "yesterday" }).since).toBeUndefined();
});
