import { ok, api } from "../api/client";
import { queryClient } from "../api/queryClient";
import { switchProject } from "./actions";
import { session } from "./session";

/** The tab's project is gone for this person: deleted, or left. Goes on in another one, or in none. */
export async function leaveGoneProject(gone: string): Promise<void> {
  const { items } = await ok(api.GET("/api/projects"));
  const others = items.filter((project) => project.id !== gone);
  const next = others.find((project) => !project.archived_at) ?? others[0];
  if (next) return switchProject(next.id);
  await queryClient.cancelQueries();
  if (session.token !== null) session.adopt(session.token, null);
  queryClient.clear();
}
