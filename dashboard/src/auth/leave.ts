import { ok, api } from "../api/client";
import { queryClient } from "../api/queryClient";
import { switchProject } from "./actions";
import { session } from "./session";

/** Called when this user has left the tab's project or it was deleted. Switches to another project, or to none. */
export async function leaveProject(gone: string): Promise<void> {
  const { items } = await ok(api.GET("/api/projects"));
  const others = items.filter((project) => project.id !== gone);
  const next = others.find((project) => !project.archived_at) ?? others[0];
  if (next) return switchProject(next.id);
  await queryClient.cancelQueries();
  if (session.token !== null) session.adopt(session.token, null);
  queryClient.clear();
}
