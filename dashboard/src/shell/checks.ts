/** Parameters of checks: the form field that their JSON schema asks for, and the value in the request. */
import type { components } from "../api/schema";

export type Check = components["schemas"]["CheckOut"];
export type CheckKind = "choice" | "lines" | "object" | "number" | "switch" | "code" | "text";

export function kindOf({ schema }: Check): CheckKind {
  if (choicesOf(schema).length > 0) return "choice";
  if (schema.type === "array") return "lines";
  if (schema.type === "object") return "object";
  if (schema.type === "integer" || schema.type === "number") return "number";
  if (schema.type === "boolean") return "switch";
  return "contentMediaType" in schema ? "code" : "text";
}

export function choicesOf(schema: Check["schema"]): string[] {
  return Array.isArray(schema.enum) ? schema.enum.map(String) : [];
}

/** Returns undefined when the text is not a valid value, null when the check is not requested. */
export function valueOf(check: Check, text: string): unknown {
  const source = text.trim();
  if (!source) return null;
  switch (kindOf(check)) {
    case "lines":
      return source.split("\n").map((line) => line.trim()).filter(Boolean);
    case "object":
      return objectOf(source);
    case "number":
      return Number.isFinite(Number(source)) ? Number(source) : undefined;
    case "switch":
      return true;
    default:
      return source;
  }
}

function objectOf(source: string): unknown {
  try {
    const value: unknown = JSON.parse(source);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
