import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useRef, useState, type FormEvent } from "react";
import { api, ok } from "../api/client";
import type { TaskBody } from "../api/types";
import { toProblem, type Problem } from "../api/problem";
import { agentsQuery, checksQuery, modelsQuery } from "../api/queries";
import { Button } from "../components/Button";
import { Dialog, DialogActions } from "../components/Dialog";
import { ErrorState } from "../components/ErrorState";
import { Field, Input, Select, Textarea } from "../components/Field";
import { Loaded } from "../components/Loaded";
import { showToast } from "../components/Toast";
import { translate, useT } from "../i18n/i18n";
import { newId } from "../lib/ids";
import { CheckField } from "./CheckField";
import { valueOf, type Check } from "./checks";

const DEFAULT_AGENT = "ExecutionAgent";
/** If omitted, the daemon uses the cache at temperature 0 only. */
const CACHE: Record<string, boolean> = { use: true, bypass: false };

function text(form: FormData, name: string): string {
  return String(form.get(name) ?? "");
}

/** The parameters of the requested checks; undefined for those whose text is not valid. */
function checksOf(form: FormData, checks: Check[]): [string, unknown][] {
  return checks.map((check): [string, unknown] => [check.name, valueOf(check, text(form, check.name))]).filter(([, value]) => value !== null);
}

function bodyOf(form: FormData, checks: [string, unknown][]): TaskBody {
  return {
    prompt: text(form, "prompt"),
    agent: text(form, "agent") || DEFAULT_AGENT,
    model: text(form, "model") || null,
    system: text(form, "system").trim() || null,
    task_type: text(form, "task_type").trim() || null,
    lane: text(form, "lane") as TaskBody["lane"],
    priority: Number(text(form, "priority")) || 0,
    cache: CACHE[text(form, "cache")] ?? null,
    checks: Object.fromEntries(checks) as TaskBody["checks"],
  };
}

export function SubmitTask({ onClose }: { onClose: () => void }) {
  const t = useT();
  const navigate = useNavigate();
  const agents = useQuery(agentsQuery()).data?.items.map((agent) => agent.name) ?? [];
  const models = useQuery(modelsQuery()).data ?? [];
  const checks = useQuery(checksQuery());
  const prompt = useRef<HTMLTextAreaElement>(null);
  // All tries of this dialog share one key, so that a submission whose response was lost is not repeated.
  const [key] = useState(newId);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [invalid, setInvalid] = useState<string[]>([]);

  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const requested = checksOf(form, checks.data ?? []);
    const wrong = requested.filter(([, value]) => value === undefined).map(([name]) => name);
    setInvalid(wrong);
    if (wrong.length > 0) return;
    setBusy(true);
    setProblem(null);
    try {
      const body = bodyOf(form, requested);
      const task = await ok(api.POST("/api/tasks", { body, params: { header: { "idempotency-key": key } } }));
      onClose();
      const open = () => void navigate({ to: "/tasks/$taskId", params: { taskId: task.id } });
      showToast(translate("submit.sent"), { action: { label: translate("submit.open"), run: open } });
    } catch (error) {
      setProblem(toProblem(error));
      setBusy(false);
    }
  }

  return (
    <Dialog open onClose={onClose} title={t("submit.title")} width="wide" initialFocus={prompt}>
      <form
        className="stack"
        onSubmit={submit}
        onKeyDown={(event) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.currentTarget.requestSubmit();
        }}
      >
        <Field label={t("submit.prompt")}>
          <Textarea ref={prompt} name="prompt" required maxLength={500_000} rows={7} />
        </Field>
        <Field label={t("submit.system")} hint={t("submit.system_hint")} optional>
          <Textarea name="system" maxLength={100_000} rows={2} />
        </Field>
        <div className="form-grid">
          <Field label={t("submit.agent")}>
            <Select name="agent" defaultValue={DEFAULT_AGENT} key={agents.length}>
              {[...new Set([DEFAULT_AGENT, ...agents])].map((name) => (
                <option key={name}>{name}</option>
              ))}
            </Select>
          </Field>
          <Field label={t("submit.model")}>
            <Select name="model">
              <option value="">{t("submit.model_auto")}</option>
              {models.map((model) => (
                <option key={model.name}>{model.name}</option>
              ))}
            </Select>
          </Field>
          <Field label={t("submit.type")} hint={t("submit.type_hint")} optional>
            <Input name="task_type" maxLength={100} autoComplete="off" />
          </Field>
          <Field label={t("submit.lane")}>
            <Select name="lane" defaultValue="interactive">
              <option value="interactive">{t("submit.lane_interactive")}</option>
              <option value="batch">{t("submit.lane_batch")}</option>
            </Select>
          </Field>
          <Field label={t("submit.priority")} hint={t("submit.priority_hint")}>
            <Input name="priority" type="number" min={-100} max={100} step={1} defaultValue={0} inputMode="numeric" required />
          </Field>
          <Field label={t("submit.cache")}>
            <Select name="cache">
              <option value="">{t("submit.cache_usual")}</option>
              <option value="use">{t("submit.cache_use")}</option>
              <option value="bypass">{t("submit.cache_bypass")}</option>
            </Select>
          </Field>
        </div>
        <details>
          <summary>{t("submit.checks")}</summary>
          <div className="stack fold">
            <Loaded query={checks}>
              {(items) => items.map((check) => <CheckField key={check.name} check={check} invalid={invalid.includes(check.name)} />)}
            </Loaded>
          </div>
        </details>
        {problem && <ErrorState problem={problem} compact />}
        <DialogActions>
          <Button onClick={onClose}>{t("common.cancel")}</Button>
          <Button type="submit" kind="primary" busy={busy}>
            {t("submit.send")}
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}
