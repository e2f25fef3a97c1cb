import { expect, it } from "vitest";
import { titleOf } from "./title";

it("uses the first non-empty line and truncates a long one", () => {
  expect(titleOf("\n  \n  Write a function.\nIt adds.")).toBe("Write a function.");
  expect(titleOf("")).toBe("");
  expect(titleOf("x".repeat(200), 10)).toBe(`${"x".repeat(9)}…`);
});
