import { useQueryClient } from "@tanstack/react-query";
import { useState, type ReactNode } from "react";
import { api, ok } from "../../api/client";
import type { ProjectDetail, ProjectSettings } from "../../api/types";
import { projectKey, useCan } from "../../api/queries";
import { Button } from "../../components/Button";
import { ErrorState } from "../../components/ErrorState";
import { Checkbox, Field, Input, Textarea } from "../../components/Field";
import { Section } from "../../components/Section";
import { showToast } from "../../components/Toast";
import { useT } from "../../i18n/i18n";
import { useSubmit } from "../entry/useSubmit";
import { changesOf, type Draft } from "./projectChanges";

export function ProjectForm({ project }: { project: ProjectDetail }) {
  const t = useT();
  const may = useCan("project:manage");
  const client = useQueryClient();
  const { settings } = project;
  const [draft, setDraft] = useState<Draft>({
    name: project.name,
    hold_answers: settings.hold_answers ?? false,
    local_only: settings.local_only ?? false,
    run_tests: settings.run_tests ?? true,
    interactive_cap: settings.interactive_cap?.toString() ?? "",
    batch_cap: settings.batch_cap?.toString() ?? "",
    weight: String(settings.weight ?? 1),
    labelling_guideline: settings.labelling_guideline ?? "",
  });
  const changes = changesOf(project, draft);
  const { busy, problem, submit } = useSubmit(async () => {
    const params = { path: { project_id: project.id } };
    const changed = await ok(api.PATCH("/api/projects/{project_id}", { params, body: changes ?? {} }));
    showToast(t("common.changed"));
    client.setQueryData(projectKey("project"), changed);
    // The header reads the name from both.
    await Promise.all([
      client.invalidateQueries({ queryKey: projectKey("me") }),
      client.invalidateQueries({ queryKey: projectKey("projects") }),
    ]);
  });
  const set = (part: Partial<Draft>) => setDraft({ ...draft, ...part });
  const knows = (name: keyof ProjectSettings) => name in settings;

  return (
    <Section title={t("settings.general")}>
      {!may && <p className="settings-notice">{t("settings.needs_admin")}</p>}
      <form className="stack settings-form" onSubmit={submit}>
        <fieldset className="settings-group" disabled={!may}>
          <Field label={t("common.name")} hint={t("shell.project_name_hint")}>
            <Input value={draft.name} maxLength={100} required onChange={(event) => set({ name: event.target.value })} />
          </Field>
          {knows("hold_answers") && (
            <Tick
              label={t("settings.hold_answers")}
              detail={t("settings.hold_answers_hint")}
              checked={draft.hold_answers}
              onChange={(hold_answers) => set({ hold_answers })}
            />
          )}
          {knows("local_only") && (
            <Tick
              label={t("settings.local_only")}
              detail={t("settings.local_only_hint")}
              checked={draft.local_only}
              onChange={(local_only) => set({ local_only })}
            />
          )}
          {knows("run_tests") && (
            <Tick
              label={t("settings.run_tests")}
              detail={t("settings.run_tests_hint")}
              checked={draft.run_tests}
              onChange={(run_tests) => set({ run_tests })}
            />
          )}
          {knows("run_tests") && project.isolation && !project.isolation.full && (
            <p className="settings-notice" role="note">
              {t(project.isolation.tests_run ? "settings.tests_weak" : "settings.tests_not_run")}{" "}
              <span className="muted">{project.isolation.detail}</span>
            </p>
          )}
          {knows("labelling_guideline") && (
            <Field label={t("settings.guideline")} hint={t("settings.guideline_hint")} optional>
              <Textarea
                rows={5}
                maxLength={20_000}
                value={draft.labelling_guideline}
                onChange={(event) => set({ labelling_guideline: event.target.value })}
              />
            </Field>
          )}
          <div className="form-grid">
            <Field label={t("settings.interactive_cap")} hint={t("settings.cap_hint")}>
              <Input
                type="number"
                min={1}
                max={100_000}
                inputMode="numeric"
                value={draft.interactive_cap}
                onChange={(event) => set({ interactive_cap: event.target.value })}
              />
            </Field>
            <Field label={t("settings.batch_cap")} hint={t("settings.cap_hint")}>
              <Input
                type="number"
                min={1}
                max={100_000}
                inputMode="numeric"
                value={draft.batch_cap}
                onChange={(event) => set({ batch_cap: event.target.value })}
              />
            </Field>
            <Field label={t("settings.weight")} hint={t("settings.weight_hint")}>
              <Input
                type="number"
                min={0.1}
                max={10}
                step="any"
                required
                inputMode="decimal"
                value={draft.weight}
                onChange={(event) => set({ weight: event.target.value })}
              />
            </Field>
          </div>
        </fieldset>
        {problem && <ErrorState problem={problem} compact />}
        {may && (
          <div className="row">
            <Button type="submit" kind="primary" busy={busy} disabled={changes === null || !draft.name.trim()}>
              {t("common.save")}
            </Button>
          </div>
        )}
      </form>
    </Section>
  );
}

function Tick({
  label,
  detail,
  checked,
  onChange,
}: {
  label: ReactNode;
  detail: string;
  checked: boolean;
  onChange: (checked: boolean) => void;
}) {
  return (
    <div className="settings-tick">
      <Checkbox label={label} checked={checked} onChange={(event) => onChange(event.target.checked)} />
      <span className="muted small">{detail}</span>
    </div>
  );
}
