import { api, ok } from "../api/client";
import type { Tokens } from "../api/types";
import { queryClient } from "../api/queryClient";
import { flushBeforeLeaving } from "../lib/leaving";
import { remembered, session } from "./session";

export async function signIn(email: string, password: string): Promise<void> {
  adopt(await ok(api.POST("/api/auth/login", { body: { email, password, project_id: remembered(), cookie: true } })));
}

/** Redeems the one-time link of the first start or of a password reset. */
export async function redeemLink(token: string, password: string): Promise<void> {
  adopt(await ok(api.POST("/api/auth/setup", { body: { token, password, cookie: true } })));
}

export async function register(token: string, email: string, name: string, password: string): Promise<void> {
  const body = { token, email, name, password, cookie: true };
  adopt(await ok(api.POST("/api/auth/register", { body })));
}

export async function signOut(everywhere = false): Promise<void> {
  await flushBeforeLeaving();
  await ok(api.POST(everywhere ? "/api/auth/logout-everywhere" : "/api/auth/logout"));
  queryClient.clear();
  session.ended();
}

export async function switchProject(id: string): Promise<void> {
  await flushBeforeLeaving();
  const switched = await ok(api.POST("/api/projects/{project_id}/switch", { params: { path: { project_id: id } } }));
  await queryClient.cancelQueries();
  session.adopt(switched.access_token, switched.project_id);
  queryClient.clear();
}

function adopt(tokens: Tokens): void {
  queryClient.clear();
  session.adopt(tokens.access_token, tokens.project_id);
}
