import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useRef, useState, type FormEvent } from "react";
import { api, ok } from "../api/client";
import type { TaskBody } from "../api/types";
import { toProblem, type Problem } from "../api/problem";
import { agentsQuery, modelsQuery } from "../api/queries";
import { Button } from "../components/Button";
import { Dialog, DialogActions } from "../components/Dialog";
import { ErrorState } from "../components/ErrorState";
import { Field, Input, Select, Textarea } from "../components/Field";
import { showToast } from "../components/Toast";
import { translate, useT } from "../i18n/i18n";
import { newId } from "../lib/ids";

const DEFAULT_AGENT = "ExecutionAgent";
/** If omitted, the daemon uses the cache at temperature 0 only. */
const CACHE: Record<string, boolean> = { use: true, bypass: false };

function lines(form: FormData, name: string): string[] {
  return text(form, name).split("\n").map((line) => line.trim()).filter(Boolean);
}

function text(form: FormData, name: string): string {
  return String(form.get(name) ?? "");
}

/** Returns undefined when the text is not a valid JSON object. */
function schemaOf(source: string): Record<string, unknown> | null | undefined {
  if (!source.trim()) return null;
  try {
    const value: unknown = JSON.parse(source);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function bodyOf(form: FormData, schema: Record<string, unknown> | null): TaskBody {
  return {
    prompt: text(form, "prompt"),
    agent: text(form, "agent") || DEFAULT_AGENT,
    model: text(form, "model") || null,
    system: text(form, "system").trim() || null,
    task_type: text(form, "task_type").trim() || null,
    lane: text(form, "lane") as TaskBody["lane"],
    priority: Number(text(form, "priority")) || 0,
    cache: CACHE[text(form, "cache")] ?? null,
    checks: {
      format: (text(form, "format") || null) as NonNullable<TaskBody["checks"]>["format"],
      schema: schema as NonNullable<TaskBody["checks"]>["schema"],
      require: lines(form, "require"),
      forbid: lines(form, "forbid"),
      tests: text(form, "tests").trim() || null,
    },
  };
}

export function SubmitTask({ onClose }: { onClose: () => void }) {
  const t = useT();
  const navigate = useNavigate();
  const agents = useQuery(agentsQuery()).data?.items.map((agent) => agent.name) ?? [];
  const models = useQuery(modelsQuery()).data ?? [];
  const prompt = useRef<HTMLTextAreaElement>(null);
  // All tries of this dialog share one key, so that a submission whose response was lost is not repeated.
  const [key] = useState(newId);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [schemaError, setSchemaError] = useState(false);

  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const schema = schemaOf(text(form, "schema"));
    setSchemaError(schema === undefined);
    if (schema === undefined) return;
    setBusy(true);
    setProblem(null);
    try {
      const body = bodyOf(form, schema);
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
            <Field label={t("submit.format")}>
              <Select name="format">
                <option value="">{t("submit.format_any")}</option>
                <option value="text">text</option>
                <option value="json">JSON</option>
                <option value="python">Python</option>
              </Select>
            </Field>
            <div className="form-grid">
              <Field label={t("submit.require")} hint={t("submit.per_line")}>
                <Textarea name="require" rows={3} />
              </Field>
              <Field label={t("submit.forbid")} hint={t("submit.per_line")}>
                <Textarea name="forbid" rows={3} />
              </Field>
            </div>
            <Field label={t("submit.tests")} hint={t("submit.tests_hint")}>
              <Textarea name="tests" rows={4} className="mono" spellCheck={false} />
            </Field>
            <Field label={t("submit.schema")} error={schemaError && t("submit.schema_invalid")}>
              <Textarea name="schema" rows={4} className="mono" spellCheck={false} />
            </Field>
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
