import type { RefObject } from "react";
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { ChevronsUpDown, Plus } from "lucide-react";
import { projectsQuery, useMe, useProjectId } from "../api/queries";
import { toProblem } from "../api/problem";
import { switchProject } from "../auth/actions";
import { Button } from "../components/Button";
import { Menu, MenuItem, MenuLine, MenuRadio } from "../components/Menu";
import { showToast } from "../components/Toast";
import { translate, useT } from "../i18n/i18n";
import { projectColour } from "../lib/ids";
import { openDialog } from "./dialogs";

export function ProjectMark({ id }: { id: string }) {
  return <span className="project-mark" style={{ background: projectColour(id) }} aria-hidden />;
}

export function ProjectMenu({ container }: { container: RefObject<HTMLElement | null> }) {
  const t = useT();
  const me = useMe();
  const projectId = useProjectId();
  const projects = useQuery(projectsQuery()).data ?? [];
  const go = useSwitch();
  const current = me?.project_name ?? projects.find((project) => project.id === projectId)?.name;
  return (
    <Menu
      container={container}
      trigger={
        <Button kind="quiet" className="project-button" aria-label={`${t("shell.project")}: ${current ?? t("shell.no_project")}`}>
          {projectId && <ProjectMark id={projectId} />}
          <span className="truncate">{current ?? (projectId ? "…" : t("shell.no_project"))}</span>
          <ChevronsUpDown aria-hidden />
        </Button>
      }
    >
      <MenuRadio
        label={t("shell.project")}
        value={projectId ?? undefined}
        onChange={(id) => void go(id, projects.find((project) => project.id === id)?.name ?? "")}
        options={projects.map((project) => ({
          value: project.id,
          icon: <ProjectMark id={project.id} />,
          label: (
            <span className="truncate">
              {project.name}
              {project.archived_at && <span className="muted"> · {t("shell.archived")}</span>}
            </span>
          ),
        }))}
      />
      <MenuLine />
      <MenuItem icon={<Plus aria-hidden />} onSelect={() => openDialog.set("project")}>
        {t("shell.create_project")}
      </MenuItem>
    </Menu>
  );
}

/** Leaves pages of single items, which do not exist in the new project. */
export function useSwitch(): (id: string, name: string) => Promise<void> {
  const navigate = useNavigate();
  return async (id, name) => {
    try {
      await switchProject(id);
      if (/^\/tasks\/./.test(location.pathname)) await navigate({ to: "/tasks" });
      showToast(translate("shell.switched", { name }));
    } catch (error) {
      showToast(toProblem(error).detail || translate("error.unreachable"), { tone: "bad" });
    }
  };
}
