import { Outlet, useNavigate } from "@tanstack/react-router";
import { lazy, Suspense, useMemo } from "react";
import { useMe, useProjectId } from "../api/queries";
import { Button } from "../components/Button";
import { DegradedBanner } from "../components/DegradedBanner";
import { EmptyState } from "../components/EmptyState";
import { SkeletonRows } from "../components/Skeleton";
import { useT } from "../i18n/i18n";
import { projectColour } from "../lib/ids";
import { useStore } from "../lib/store";
import { openDialog } from "./dialogs";
import { Header } from "./Header";
import { Nav } from "./Nav";
import { NAV } from "./navigation";
import { useShortcuts, type Shortcuts } from "./shortcuts";
import "./Shell.css";

const SubmitTask = lazy(() => import("./SubmitTask").then((m) => ({ default: m.SubmitTask })));
const CreateProject = lazy(() => import("./CreateProject").then((m) => ({ default: m.CreateProject })));
const HelpDialog = lazy(() => import("./HelpDialog").then((m) => ({ default: m.HelpDialog })));

export function Shell() {
  const t = useT();
  const navigate = useNavigate();
  const projectId = useProjectId();
  const me = useMe();
  const write = me?.permissions?.includes("tasks:write") ?? false;
  const shortcuts = useMemo<Shortcuts>(
    () => ({
      "/": () => document.getElementById("search")?.focus(),
      "?": () => openDialog.set("help"),
      ...(write ? { c: () => openDialog.set("submit") } : {}),
      ...Object.fromEntries(NAV.map((entry) => [`g ${entry.letter}`, () => void navigate({ to: entry.to })])),
    }),
    [navigate, write],
  );
  useShortcuts(shortcuts);
  return (
    <div className="shell" style={projectId ? { borderTopColor: projectColour(projectId) } : undefined}>
      <a href="#content" className="skip">
        {t("nav.skip")}
      </a>
      <Header />
      <Nav />
      <div className="content">
        <DegradedBanner />
        <main id="content" tabIndex={-1}>
          {/* The key remounts every page in another project, so that no filter or draft is carried over. */}
          {projectId ? (
            <Suspense fallback={<SkeletonRows />}>
              <Outlet key={projectId} />
            </Suspense>
          ) : (
            <NoProject />
          )}
        </main>
      </div>
      <Suspense fallback={null}>
        <Dialogs />
      </Suspense>
    </div>
  );
}

function Dialogs() {
  const open = useStore(openDialog);
  const close = () => openDialog.set(null);
  if (open === "submit") return <SubmitTask onClose={close} />;
  if (open === "project") return <CreateProject onClose={close} />;
  if (open === "help") return <HelpDialog onClose={close} />;
  return null;
}

function NoProject() {
  const t = useT();
  return (
    <EmptyState
      title={t("shell.no_project")}
      action={
        <Button kind="primary" onClick={() => openDialog.set("project")}>
          {t("shell.create_project")}
        </Button>
      }
    >
      {t("shell.no_project_detail")}
    </EmptyState>
  );
}
