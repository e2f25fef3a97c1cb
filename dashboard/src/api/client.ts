/**
 * The API client. `api` is typed from openapi.json: `await ok(api.GET("/api/tasks", {...}))`. `call` is for endpoints
 * that only contract.ts describes. Both throw `Problem`.
 */
import createClient from "openapi-fetch";
import { session } from "../auth/session";
import { problemOf, toProblem } from "./problem";
import type { paths } from "./schema";

export const api = createClient<paths>({ baseUrl: location.origin, fetch: send });

export async function ok<T>(
  answer: Promise<{ data?: T; error?: unknown; response: Response }>,
): Promise<T> {
  let result;
  try {
    result = await answer;
  } catch (error) {
    if (isAbort(error)) throw error;
    throw toProblem(error);
  }
  if (!result.response.ok) throw problemOf(result.response, result.error);
  return result.data as T;
}

export interface CallOptions {
  /** Sent as JSON. A Blob, such as a file, is sent unchanged with its own content type. */
  body?: unknown;
  query?: Record<string, string | number | boolean | null | undefined | readonly string[]>;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** Lets the request continue after its page is closed. */
  keepalive?: boolean;
}

export async function call<T>(
  method: "GET" | "POST" | "PATCH" | "PUT" | "DELETE",
  path: string,
  { body, query, headers, signal, keepalive }: CallOptions = {},
): Promise<T> {
  const response = await raw(method, path, { body, query, headers, signal, keepalive });
  if (response.status === 204 || response.headers.get("content-length") === "0") return undefined as T;
  const text = await response.text();
  return (text ? JSON.parse(text) : undefined) as T;
}

/** Returns the raw response, for bodies that are not JSON, such as an export. */
export async function raw(method: string, path: string, options: CallOptions = {}): Promise<Response> {
  const { body, query, headers, signal, keepalive } = options;
  const init: RequestInit = { method, keepalive: keepalive ?? false, headers: { ...headers } };
  if (signal) init.signal = signal;
  if (body instanceof Blob) init.body = body;
  else if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { "content-type": "application/json", ...headers };
  }
  let response;
  try {
    response = await send(new Request(addressOf(path, query), init));
  } catch (error) {
    if (isAbort(error)) throw error;
    throw toProblem(error);
  }
  if (!response.ok) throw problemOf(response, await response.json().catch(() => null));
  return response;
}

async function send(request: Request): Promise<Response> {
  const { token, projectId } = session;
  const response = await fetch(signed(request.clone(), token));
  if (response.status !== 401 || token === null) return response;
  if (session.token === token && !(await session.refresh())) return response;
  // After a switch of project in between, the repeated request would act in another project.
  if (session.projectId !== projectId) return response;
  return fetch(signed(request, session.token));
}

function signed(request: Request, token: string | null): Request {
  if (token !== null) request.headers.set("authorization", `Bearer ${token}`);
  return request;
}

function addressOf(path: string, query: CallOptions["query"] = {}): URL {
  const address = new URL(path, location.origin);
  for (const [name, value] of Object.entries(query)) {
    if (value === null || value === undefined || value === "") continue;
    if (Array.isArray(value)) for (const item of value) address.searchParams.append(name, item);
    else address.searchParams.set(name, String(value));
  }
  return address;
}

function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}
