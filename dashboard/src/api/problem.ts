import type { components } from "./schema";

type Schemas = components["schemas"];

/** A problem document of the API (RFC 9457). `detail` contains the remedy. */
export type ProblemDocument = Pick<Schemas["Problem"], "title" | "status" | "code" | "detail" | "errors">;

export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  readonly title: string;
  readonly errors: Schemas["InputError"][];
  readonly retryAfter: number | null;

  constructor(document: ProblemDocument, retryAfter: number | null = null) {
    super(document.detail);
    this.name = "Problem";
    this.status = document.status;
    this.code = document.code;
    this.title = document.title;
    this.errors = document.errors ?? [];
    this.retryAfter = retryAfter;
  }

  get detail(): string {
    return this.message;
  }
}

/** Code of the problem created when no response arrived. The error view has its own text for it. */
export const UNREACHABLE = "unreachable";

export function unreachable(): Problem {
  return new Problem({ title: "Kairos did not answer", status: 0, code: UNREACHABLE, detail: "" });
}

export function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof TypeError) return unreachable();
  const detail = error instanceof Error ? error.message : String(error);
  return new Problem({ title: "Unexpected error", status: 0, code: "client_error", detail });
}

/** A proxy may answer with a body that is not a problem document. */
export function problemOf(response: Response, body: unknown): Problem {
  const wait = Number(response.headers.get("retry-after"));
  const retryAfter = Number.isFinite(wait) && wait > 0 ? wait : null;
  if (typeof body === "object" && body !== null && "code" in body && "detail" in body) {
    return new Problem({ ...(body as ProblemDocument), status: response.status }, retryAfter);
  }
  const title = response.statusText || `HTTP ${response.status}`;
  return new Problem({ title, status: response.status, code: `http_${response.status}`, detail: title }, retryAfter);
}
