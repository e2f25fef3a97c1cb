import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { session } from "../auth/session";
import { api, ok } from "./client";
import { Problem, UNREACHABLE } from "./problem";

const json = (body: unknown, status = 200) =>
  new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json" } });
const refused = () => json({ title: "Not signed in", code: "unauthenticated", detail: "Sign in." }, 401);
const tokens = (access_token: string, project_id: string) => json({ access_token, project_id });

const PATHS = ["/api/agents", "/api/daemons", "/api/models"] as const;

type Server = (path: string, authorization: string | null) => Response | Promise<Response>;
let requests: string[];

function serve(server: Server) {
  requests = [];
  vi.stubGlobal("fetch", async (input: Request | string) => {
    const path = typeof input === "string" ? input : new URL(input.url).pathname;
    requests.push(path);
    return server(path, typeof input === "string" ? null : input.headers.get("authorization"));
  });
}

const count = (path: string) => requests.filter((one) => one === path).length;

describe("api", () => {
  beforeEach(() => session.adopt("old", "p1"));
  afterEach(() => void vi.unstubAllGlobals());

  it("refreshes once for concurrent requests and repeats each", async () => {
    serve(async (path, authorization) => {
      await Promise.resolve();
      if (path === "/api/auth/refresh") return tokens("new", "p1");
      return authorization === "Bearer new" ? json({ path }) : refused();
    });
    const answers = await Promise.all(PATHS.map((path) => ok(api.GET(path))));
    expect(answers).toEqual(PATHS.map((path) => ({ path })));
    expect(count("/api/auth/refresh")).toBe(1);
  });

  it("ends the session when the refresh cookie is refused", async () => {
    serve(refused);
    await expect(ok(api.GET("/api/agents"))).rejects.toMatchObject({ status: 401, code: "unauthenticated" });
    expect(session.state.status).toBe("out");
  });

  it("does not repeat a request in another project", async () => {
    serve((path) => (path === "/api/auth/refresh" ? tokens("new", "p2") : refused()));
    await expect(ok(api.POST("/api/tasks", { body: { prompt: "hello" } }))).rejects.toBeInstanceOf(Problem);
    expect(count("/api/tasks")).toBe(1);
  });

  it("keeps the session when Kairos cannot be reached", async () => {
    serve(() => {
      throw new TypeError("failed to fetch");
    });
    await expect(ok(api.GET("/api/agents"))).rejects.toMatchObject({ code: UNREACHABLE });
    expect(session.state.status).toBe("in");
  });
});
