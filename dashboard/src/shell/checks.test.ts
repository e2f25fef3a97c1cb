import { describe, expect, it } from "vitest";
import { kindOf, valueOf, type Check } from "./checks";

function check(schema: Check["schema"]): Check {
  return { name: "a", weight: 1, schema, label: { en: "A", tr: "A" }, hint: null };
}

describe("checks", () => {
  it("chooses the field by the schema of the parameter", () => {
    expect(kindOf(check({ type: "string", enum: ["json"] }))).toBe("choice");
    expect(kindOf(check({ type: "array", items: { type: "string" } }))).toBe("lines");
    expect(kindOf(check({ type: "object" }))).toBe("object");
    expect(kindOf(check({ type: "integer" }))).toBe("number");
    expect(kindOf(check({ type: "boolean" }))).toBe("switch");
    expect(kindOf(check({ type: "string", contentMediaType: "text/x-python" }))).toBe("code");
    expect(kindOf(check({ type: "string" }))).toBe("text");
  });

  it("reads the value of each kind of field", () => {
    expect(valueOf(check({ type: "array" }), " a \n\nb\n")).toEqual(["a", "b"]);
    expect(valueOf(check({ type: "object" }), '{"type": "object"}')).toEqual({ type: "object" });
    expect(valueOf(check({ type: "number" }), "7")).toBe(7);
    expect(valueOf(check({ type: "boolean" }), "on")).toBe(true);
    expect(valueOf(check({ type: "string" }), " x ")).toBe("x");
  });

  it("distinguishes an empty field from an invalid one", () => {
    for (const type of ["array", "object", "number", "boolean", "string"]) {
      expect(valueOf(check({ type }), " \n")).toBeNull();
    }
    expect(valueOf(check({ type: "object" }), "[1]")).toBeUndefined();
    expect(valueOf(check({ type: "object" }), "{")).toBeUndefined();
    expect(valueOf(check({ type: "number" }), "x")).toBeUndefined();
  });
});
