import { expect, it } from "vitest";
import { queryOf } from "./search";

it("takes whole days of the reader, and passes over what is no day", () => {
  const { since, until } = queryOf({ since: "2026-03-01", until: "2026-03-01" });
  expect(Date.parse(until ?? "") - Date.parse(since ?? "")).toBe(86_400_000);
  expect(queryOf({ since: "yesterday" }).since).toBeUndefined();
});
