/** A form field for a property of a plugin's `config_schema`. */
export interface SchemaField {
  name: string;
  kind: "text" | "number" | "boolean" | "choice" | "json";
  description: string;
  choices: string[];
  /** The default as text; empty when there is none. */
  fallback: string;
  /** Can be set in kairos.toml only. */
  secret: boolean;
  /** Projects can set it; other fields can be set by operators only. */
  projectScoped: boolean;
}

type Json = Record<string, unknown>;

/** The top-level properties as fields. Structured values are edited as JSON. */
export function fieldsOf(schema: Json): SchemaField[] {
  const properties = isObject(schema.properties) ? schema.properties : {};
  return Object.entries(properties)
    .filter((entry): entry is [string, Json] => isObject(entry[1]))
    .map(([name, about]) => ({
      name,
      kind: kindOf(about),
      description: typeof about.description === "string" ? about.description : "",
      choices: Array.isArray(about.enum) ? about.enum.map(String) : [],
      fallback: write(about.default),
      secret: about.writeOnly === true,
      projectScoped: about["x-kairos-scope"] === "project",
    }));
}

export function write(value: unknown): string {
  if (value === undefined || value === null) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

/**
 * Parses the input for the field's type. Returns null for empty input, which resets the value. The API validates the
 * rest.
 */
export function parseField(text: string, { kind }: Pick<SchemaField, "kind">): unknown {
  if (text.trim() === "") return null;
  if (kind === "text" || kind === "choice") return text;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

function kindOf(about: Json): SchemaField["kind"] {
  if (Array.isArray(about.enum) && about.enum.every((one) => typeof one === "string")) return "choice";
  switch (about.type) {
    case "string":
      return "text";
    case "number":
    case "integer":
      return "number";
    case "boolean":
      return "boolean";
    default:
      return "json";
  }
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
