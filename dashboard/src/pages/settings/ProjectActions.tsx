import { useQueryClient } from "@tanstack/react-query";
import { useState, type ReactNode } from "react";
import { api, ok } from "../../api/client";
import type { Permission, ProjectDetail } from "../../api/types";
import { download } from "../../api/download";
import { toProblem, type Problem } from "../../api/problem";
import { projectKey, useCan } from "../../api/queries";
import { leaveProject } from "../../auth/leave";
import { Button } from "../../components/Button";
import { ConfirmDialog } from "../../components/ConfirmDialog";
import { ErrorState } from "../../components/ErrorState";
import { Section } from "../../components/Section";
import { showToast } from "../../components/Toast";
import { useFormats } from "../../i18n/format";
import { useT } from "../../i18n/i18n";

/** Actions on the whole project. Actions that the role does not permit are hidden. */
export function ProjectActions({ project }: { project: ProjectDetail }) {
  const t = useT();
  const manage = useCan("project:manage");
  const exports = useCan("project:export");
  const deletes = useCan("project:delete");
  if (!manage && !exports && !deletes) return null;
  return (
    <Section title={t("settings.whole")}>
      <div className="settings-acts">
        <Export project={project} />
        <Archive project={project} />
        <Delete project={project} />
      </div>
    </Section>
  );
}

function ProjectAction({ needs, title, detail, children }: { needs: Permission; title: string; detail: string; children: ReactNode }) {
  if (!useCan(needs)) return null;
  return (
    <div className="settings-act">
      <div>
        <h3>{title}</h3>
        <p className="muted">{detail}</p>
      </div>
      {children}
    </div>
  );
}

function Export({ project }: { project: ProjectDetail }) {
  const t = useT();
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  async function fetchArchive() {
    setBusy(true);
    setProblem(null);
    try {
      const params = { path: { project_id: project.id } };
      const archive = api.GET("/api/projects/{project_id}/export", { params, parseAs: "blob" });
      await download(archive, `kairos-${project.id}.tar.gz`);
    } catch (error) {
      setProblem(toProblem(error));
    } finally {
      setBusy(false);
    }
  }
  return (
    <ProjectAction needs="project:export" title={t("settings.export")} detail={t("settings.export_detail")}>
      <Button busy={busy} onClick={() => void fetchArchive()}>
        {t(busy ? "settings.exporting" : "settings.export_button")}
      </Button>
      {problem && <ErrorState problem={problem} compact />}
    </ProjectAction>
  );
}

function Archive({ project }: { project: ProjectDetail }) {
  const t = useT();
  const formats = useFormats();
  const client = useQueryClient();
  const [confirming, setConfirming] = useState(false);
  const archived = project.archived_at;
  async function act() {
    const params = { path: { project_id: project.id } };
    await ok(api.POST(`/api/projects/{project_id}/${archived ? "restore" : "archive"}`, { params }));
    await Promise.all([
      client.invalidateQueries({ queryKey: projectKey("project") }),
      client.invalidateQueries({ queryKey: projectKey("projects") }),
    ]);
  }
  return (
    <ProjectAction
      needs="project:manage"
      title={t(archived ? "settings.restore" : "settings.archive")}
      detail={archived ? t("settings.restore_detail", { when: formats.date(archived) }) : t("settings.archive_detail")}
    >
      <Button onClick={() => setConfirming(true)}>{t(archived ? "settings.restore" : "settings.archive")}</Button>
      <ConfirmDialog
        open={confirming}
        onClose={() => setConfirming(false)}
        title={t(archived ? "settings.restore_title" : "settings.archive_title", { name: project.name })}
        action={t(archived ? "settings.restore" : "settings.archive")}
        onConfirm={act}
      >
        {t(archived ? "settings.restore_confirm" : "settings.archive_detail")}
      </ConfirmDialog>
    </ProjectAction>
  );
}

function Delete({ project }: { project: ProjectDetail }) {
  const t = useT();
  const [confirming, setConfirming] = useState(false);
  async function act() {
    const params = { path: { project_id: project.id }, query: { confirm: project.name } };
    await ok(api.DELETE("/api/projects/{project_id}", { params }));
    showToast(t("settings.deleted", { name: project.name }));
    await leaveProject(project.id);
  }
  return (
    <ProjectAction needs="project:delete" title={t("settings.delete")} detail={t("settings.delete_detail")}>
      <Button kind="danger" onClick={() => setConfirming(true)}>
        {t("settings.delete_button")}
      </Button>
      <ConfirmDialog
        open={confirming}
        onClose={() => setConfirming(false)}
        title={t("settings.delete_title", { name: project.name })}
        action={t("settings.delete_button")}
        typed={project.name}
        onConfirm={act}
      >
        {t("settings.delete_confirm")}
      </ConfirmDialog>
    </ProjectAction>
  );
}
