import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
  Outlet,
  redirect,
} from "@tanstack/react-router";
import type { TaskFilters } from "./api/queries";
import { session } from "./auth/session";
import { Toasts } from "./components/Toast";
import { TASK_STATES } from "./lib/states";
import { many, one, parseSearch, stringifySearch, time } from "./lib/search";
import type { AuditSearch } from "./pages/audit/search";
import { NotFound } from "./pages/entry/NotFound";
import { RouteError } from "./pages/entry/RouteError";
import { CHANGES, type Change } from "./pages/learning/adapters/pairs";
import { SAMPLE_STATES, type SampleFilters } from "./pages/learning/filters";
import { Shell } from "./shell/Shell";

const root = createRootRoute({
  component: () => (
    <>
      <Outlet />
      <Toasts />
    </>
  ),
  notFoundComponent: NotFound,
});

const signIn = createRoute({
  getParentRoute: () => root,
  path: "/sign-in",
  validateSearch: (search): { next?: string } => ({ next: localAddress(one(search.next)) }),
  component: lazyRouteComponent(() => import("./pages/entry/SignInPage"), "SignInPage"),
});
const setup = createRoute({
  getParentRoute: () => root,
  path: "/setup",
  component: lazyRouteComponent(() => import("./pages/entry/LinkPage"), "SetupPage"),
});
const reset = createRoute({
  getParentRoute: () => root,
  path: "/reset",
  component: lazyRouteComponent(() => import("./pages/entry/LinkPage"), "ResetPage"),
});
const join = createRoute({
  getParentRoute: () => root,
  path: "/join",
  component: lazyRouteComponent(() => import("./pages/entry/JoinPage"), "JoinPage"),
});

/** All routes that require a signed-in user. */
const app = createRoute({
  getParentRoute: () => root,
  id: "app",
  component: Shell,
  beforeLoad: async ({ location }) => {
    if (!(await session.start())) throw redirect({ to: "/sign-in", search: { next: localAddress(location.href) } });
  },
});

const overview = createRoute({
  getParentRoute: () => app,
  path: "/",
  component: lazyRouteComponent(() => import("./pages/overview/OverviewPage"), "OverviewPage"),
});
const tasks = createRoute({
  getParentRoute: () => app,
  path: "/tasks",
  validateSearch: (search): TaskFilters => ({
    state: many(search.state, TASK_STATES),
    agent: one(search.agent),
    model: one(search.model),
    task_type: one(search.task_type),
    q: one(search.q),
    ended_since: time(one(search.ended_since)),
    labelled: many(search.labelled, ["true", "false"] as const)?.[0],
  }),
  component: lazyRouteComponent(() => import("./pages/tasks/TasksPage"), "TasksPage"),
});
const task = createRoute({
  getParentRoute: () => app,
  path: "/tasks/$taskId",
  component: lazyRouteComponent(() => import("./pages/tasks/TaskPage"), "TaskPage"),
});
const agents = createRoute({
  getParentRoute: () => app,
  path: "/agents",
  component: lazyRouteComponent(() => import("./pages/agents/AgentsPage"), "AgentsPage"),
});
const models = createRoute({
  getParentRoute: () => app,
  path: "/models",
  validateSearch: (search): { days?: string } => ({ days: one(search.days) }),
  component: lazyRouteComponent(() => import("./pages/models/ModelsPage"), "ModelsPage"),
});
/** The name is in the query, because a path cannot carry every name: browsers resolve `..`, and `add` is another page. */
const model = createRoute({
  getParentRoute: () => app,
  path: "/models/details",
  validateSearch: (search): { name: string; days?: string } => ({ name: one(search.name) ?? "", days: one(search.days) }),
  beforeLoad: ({ search }) => {
    if (!search.name) throw redirect({ to: "/models", replace: true });
  },
  component: lazyRouteComponent(() => import("./pages/models/model/ModelPage"), "ModelPage"),
});
const addModels = createRoute({
  getParentRoute: () => app,
  path: "/models/add",
  component: lazyRouteComponent(() => import("./pages/models/providers/AddModelsPage"), "AddModelsPage"),
});
const provider = createRoute({
  getParentRoute: () => app,
  path: "/models/providers/$providerId",
  validateSearch: (search): { own?: "true" } => ({ own: one(search.own) === "true" ? "true" : undefined }),
  component: lazyRouteComponent(() => import("./pages/models/providers/ProviderPage"), "ProviderPage"),
});
const ollama = createRoute({
  getParentRoute: () => app,
  path: "/models/providers/$providerId/ollama",
  validateSearch: (search): { own?: "true" } => ({ own: one(search.own) === "true" ? "true" : undefined }),
  component: lazyRouteComponent(() => import("./pages/models/ollama/OllamaPage"), "OllamaPage"),
});
const learning = createRoute({
  getParentRoute: () => app,
  path: "/learning",
  component: lazyRouteComponent(() => import("./pages/learning/LearningPage"), "LearningPage"),
});
const label = createRoute({
  getParentRoute: () => app,
  path: "/learning/label",
  component: lazyRouteComponent(() => import("./pages/learning/label/LabelPage"), "LabelPage"),
});
const dataset = createRoute({
  getParentRoute: () => app,
  path: "/learning/dataset",
  validateSearch: (search): SampleFilters => ({
    state: many(search.state, SAMPLE_STATES),
    task_type: one(search.task_type),
    q: one(search.q),
  }),
  component: lazyRouteComponent(() => import("./pages/learning/dataset/DatasetPage"), "DatasetPage"),
});
const sample = createRoute({
  getParentRoute: () => app,
  path: "/learning/dataset/$sampleId",
  component: lazyRouteComponent(() => import("./pages/learning/dataset/SamplePage"), "SamplePage"),
});
const run = createRoute({
  getParentRoute: () => app,
  path: "/learning/runs/$runId",
  component: lazyRouteComponent(() => import("./pages/learning/runs/RunPage"), "RunPage"),
});
const adapter = createRoute({
  getParentRoute: () => app,
  path: "/learning/adapters/$adapterId",
  validateSearch: (search): { part?: "held_out" | "control"; pairs?: Change[] } => ({
    part: many(search.part, ["held_out", "control"] as const)?.[0],
    pairs: many(search.pairs, CHANGES),
  }),
  component: lazyRouteComponent(() => import("./pages/learning/adapters/AdapterPage"), "AdapterPage"),
});
const audit = createRoute({
  getParentRoute: () => app,
  path: "/audit",
  validateSearch: (search): AuditSearch => ({
    q: one(search.q),
    action: one(search.action),
    user: one(search.user),
    since: one(search.since),
    until: one(search.until),
    system: one(search.system) === "true" ? "true" : undefined,
  }),
  component: lazyRouteComponent(() => import("./pages/audit/AuditPage"), "AuditPage"),
});
const settings = createRoute({
  getParentRoute: () => app,
  path: "/settings",
  beforeLoad: () => {
    throw redirect({ to: "/settings/$section", params: { section: "project" }, replace: true });
  },
});
const settingsSection = createRoute({
  getParentRoute: () => app,
  path: "/settings/$section",
  component: lazyRouteComponent(() => import("./pages/settings/SettingsPage"), "SettingsPage"),
});
const users = createRoute({
  getParentRoute: () => app,
  path: "/users",
  component: lazyRouteComponent(() => import("./pages/users/UsersPage"), "UsersPage"),
});

export const router = createRouter({
  routeTree: root.addChildren([
    signIn,
    setup,
    reset,
    join,
    app.addChildren([
      overview,
      tasks,
      task,
      agents,
      models,
      model,
      addModels,
      provider,
      ollama,
      learning,
      label,
      dataset,
      sample,
      run,
      adapter,
      audit,
      settings,
      settingsSection,
      users,
    ]),
  ]),
  parseSearch,
  stringifySearch,
  defaultPreload: "intent",
  defaultErrorComponent: RouteError,
  scrollRestoration: true,
});

/** The address to open after sign-in. Addresses of other sites are refused, to prevent open redirects. */
function localAddress(address: string | undefined): string | undefined {
  return address && /^\/(?![/\\])/.test(address) && !address.startsWith("/sign-in") ? address : undefined;
}

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
