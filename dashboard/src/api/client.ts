/** The API client, typed from openapi.json: `await ok(api.GET("/api/tasks", {...}))`. */
import createClient from "openapi-fetch";
import { session } from "../auth/session";
import { problemOf, toProblem } from "./problem";
import type { paths } from "./schema";

export const api = createClient<paths>({ baseUrl: location.origin, fetch: send });

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** Returns the body of a successful response. Throws `Problem`. */
export async function ok<T>(answer: Promise<Answer<T>>): Promise<T> {
  return (await succeeded(answer)).data as T;
}

/** Returns a successful response with its body. Throws `Problem`. */
export async function succeeded<T>(answer: Promise<Answer<T>>): Promise<Answer<T>> {
  let result;
  try {
    result = await answer;
  } catch (error) {
    if (isAbort(error)) throw error;
    throw toProblem(error);
  }
  if (!result.response.ok) throw problemOf(result.response, result.error);
  return result;
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

function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}
