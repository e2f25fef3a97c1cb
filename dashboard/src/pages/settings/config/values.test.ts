import { expect, it } from "vitest";
import type { ValueOut } from "../../../api/types";
import { grouped, parseValue, formatValue } from "./values";

const value = (key: string, description = "") => ({ key, description }) as ValueOut;

it("groups by table and searches keys and descriptions", () => {
  const all = [value("log_level"), value("queue.lease_s", "Silence of a worker."), value("queue.sweep_s")];
  expect(grouped(all, "").map(([table, list]) => [table, list.length])).toEqual([
    ["", 1],
    ["queue", 2],
  ]);
  expect(grouped([...all, value("project.weight")], "").map(([table]) => table)).toEqual(["project", "", "queue"]);
  expect(grouped(all, "silence").flatMap(([, list]) => list.map(({ key }) => key))).toEqual(["queue.lease_s"]);
});

it("parses its own formatted values", () => {
  for (const [kind, given] of [
    ["integer, 1 to 5", 3],
    ["true or false", true],
    ["table", { code: "It runs." }],
    ["text", "4"],
  ] as const) {
    expect(parseValue(formatValue(given), kind)).toEqual(given);
  }
  expect(parseValue("many", "integer")).toBe("many");
});
