/** A property of a plugin's `config_schema`, as a form has it. */
export interface SchemaField {
  name: string;
  kind: "text" | "number" | "boolean" | "choice" | "json";
  description: string;
  choices: string[];
  /** As it is written; empty where there is none. */
  fallback: string;
  /** Only kairos.toml may hold it. */
  secret: boolean;
  /** A project may set it; anything else is the operator's. */
  ofProject: boolean;
}

type Json = Record<string, unknown>;

/** The top-level properties; what is no plain value is written as JSON. */
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
      ofProject: about["x-kairos-scope"] === "project",
    }));
}

export function write(value: unknown): string {
  if (value === undefined || value === null) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** What was written, as the field wants it; null for nothing, which takes the value back. The API judges the rest. */
export function readField(text: string, { kind }: Pick<SchemaField, "kind">): unknown {
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
