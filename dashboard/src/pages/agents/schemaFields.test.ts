import { expect, it } from "vitest";
import { fieldsOf, parseField } from "./schemaFields";

it("creates a field for each property", () => {
  const fields = fieldsOf({
    type: "object",
    properties: {
      address: { type: "string", default: "https://x", description: "Where." },
      days: { type: "integer", default: 3 },
      units: { enum: ["metric", "imperial"], "x-kairos-scope": "project" },
      key: { type: "string", writeOnly: true },
      headers: { type: "object" },
    },
  });
  expect(fields.map(({ name, kind, fallback, secret }) => [name, kind, fallback, secret])).toEqual([
    ["address", "text", "https://x", false],
    ["days", "number", "3", false],
    ["units", "choice", "", false],
    ["key", "text", "", true],
    ["headers", "json", "", false],
  ]);
  expect(fields.filter(({ projectScoped }) => projectScoped).map(({ name }) => name)).toEqual(["units"]);
  expect(fieldsOf({})).toEqual([]);
});

it("parses the input of each type", () => {
  expect(parseField("3", { kind: "number" })).toBe(3);
  expect(parseField("3", { kind: "text" })).toBe("3");
  expect(parseField("three", { kind: "number" })).toBe("three");
  expect(parseField(" ", { kind: "text" })).toBeNull();
});
