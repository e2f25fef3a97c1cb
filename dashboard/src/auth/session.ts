/**
 * The tab's session. The access token is held in this module only, so that a script cannot read it from storage; the
 * refresh token is a cookie that scripts cannot read. Each tab has its own active project.
 */
import type { Tokens } from "../api/types";
import { problemOf, toProblem } from "../api/problem";
import { Store } from "../lib/store";

export interface SessionState {
  status: "starting" | "in" | "out";
  projectId: string | null;
}

const PROJECT = "kairos.project";
const LAST_PROJECT = "kairos.last-project";

class Session extends Store<SessionState> {
  #token: string | null = null;
  #refreshing: Promise<boolean> | null = null;
  #others = typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel("kairos.session");

  constructor() {
    super({ status: "starting", projectId: remembered() });
    if (this.#others) this.#others.onmessage = () => this.#leave();
  }

  get token(): string | null {
    return this.#token;
  }

  get projectId(): string | null {
    return this.state.projectId;
  }

  /** Called by every guarded route. The first call uses the cookie to find out whether a user is signed in. */
  async start(): Promise<boolean> {
    if (this.state.status === "starting") await this.refresh();
    return this.state.status === "in";
  }

  adopt(token: string, projectId: string | null): void {
    this.#token = token;
    remember(projectId);
    this.set({ status: "in", projectId });
  }

  /**
   * Returns true with a new access token and false when the session has ended. Throws when Kairos cannot be reached.
   */
  refresh(): Promise<boolean> {
    this.#refreshing ??= acrossTabs(() => this.#refresh()).finally(() => {
      this.#refreshing = null;
    });
    return this.#refreshing;
  }

  ended(): void {
    this.#leave();
    this.#others?.postMessage("out");
  }

  async #refresh(): Promise<boolean> {
    // For a deleted or foreign project, the server returns one of the user's own projects.
    const response = await post("/api/auth/refresh", { project_id: remembered() });
    if (response.status === 401 || response.status === 403) {
      this.#leave();
      return false;
    }
    const body: unknown = await response.json().catch(() => null);
    if (!response.ok) throw problemOf(response, body);
    const tokens = body as Tokens;
    this.adopt(tokens.access_token, tokens.project_id);
    return true;
  }

  #leave(): void {
    this.#token = null;
    this.set({ status: "out", projectId: null });
  }
}

/** Refresh tokens work once and all tabs share the cookie, so concurrent refreshes would end the session. */
async function acrossTabs(work: () => Promise<boolean>): Promise<boolean> {
  return "locks" in navigator ? await navigator.locks.request("kairos.refresh", work) : await work();
}

async function post(path: string, body: unknown): Promise<Response> {
  try {
    return await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  } catch (error) {
    throw toProblem(error);
  }
}

/** Survives a sign-in, so that the return address opens in its project. */
export function remembered(): string | null {
  try {
    return sessionStorage.getItem(PROJECT) ?? localStorage.getItem(LAST_PROJECT);
  } catch {
    return null;
  }
}

/** A new tab starts in the project chosen last in any tab; a reload keeps the tab's own. */
function remember(projectId: string | null): void {
  try {
    if (projectId === null) sessionStorage.removeItem(PROJECT);
    else {
      sessionStorage.setItem(PROJECT, projectId);
      localStorage.setItem(LAST_PROJECT, projectId);
    }
  } catch {
    // With blocked storage, only the last project is not remembered.
  }
}

export const session = new Session();
