import { useState, type FormEvent } from "react";
import { api, ok } from "../api/client";
import { toProblem, type Problem } from "../api/problem";
import { Button } from "../components/Button";
import { Dialog, DialogActions } from "../components/Dialog";
import { ErrorState } from "../components/ErrorState";
import { Field, Input } from "../components/Field";
import { useT } from "../i18n/i18n";
import { useSwitch } from "./ProjectMenu";

export function CreateProject({ onClose }: { onClose: () => void }) {
  const t = useT();
  const go = useSwitch();
  const [name, setName] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);

  async function create(event: FormEvent) {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    try {
      const project = await ok(api.POST("/api/projects", { body: { name: name.trim() } }));
      onClose();
      await go(project.id, project.name);
    } catch (error) {
      setProblem(toProblem(error));
      setBusy(false);
    }
  }

  return (
    <Dialog open onClose={onClose} title={t("shell.create_project")}>
      <form className="stack" onSubmit={create}>
        <Field label={t("common.name")} hint={t("shell.project_name_hint")}>
          <Input value={name} onChange={(event) => setName(event.target.value)} maxLength={100} required autoComplete="off" />
        </Field>
        {problem && <ErrorState problem={problem} compact />}
        <DialogActions>
          <Button onClick={onClose}>{t("common.cancel")}</Button>
          <Button type="submit" kind="primary" busy={busy} disabled={!name.trim()}>
            {t("common.create")}
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}
