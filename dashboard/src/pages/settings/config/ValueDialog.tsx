import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, ok } from "../../../api/client";
import type { ConfigOut, ValueOut } from "../../../api/types";
import { Button } from "../../../components/Button";
import { Dialog, DialogActions } from "../../../components/Dialog";
import { ErrorState } from "../../../components/ErrorState";
import { Field, Input, Select, Textarea } from "../../../components/Field";
import { showToast } from "../../../components/Toast";
import { translate, useT } from "../../../i18n/i18n";
import { useSubmit } from "../../entry/useSubmit";
import { configChanged } from "./queries";
import { parseValue, formatValue } from "./values";

interface ValueDialogProps {
  value: ValueOut;
  configuration: ConfigOut;
  onClose: () => void;
}

export function ValueDialog({ value, configuration, onClose }: ValueDialogProps) {
  const t = useT();
  const client = useQueryClient();
  const [text, setText] = useState(formatValue(value.value));
  const [why, setWhy] = useState("");

  async function send(changed: unknown) {
    const { version, project_version } = configuration;
    const body = { changes: { [value.key]: changed }, why, version, project_version };
    const done = await ok(api.PATCH("/api/config", { body }));
    showToast(translate(done.restart.length > 0 ? "config.changed_restart" : "config.changed", { key: value.key }));
    configChanged(client);
    onClose();
  }
  const change = useSubmit(() => send(parseValue(text, value.kind)));
  const reset = useSubmit(() => send(null));
  const problem = change.problem ?? reset.problem;

  return (
    <Dialog open onClose={onClose} title={<code>{value.key}</code>}>
      <form className="stack" onSubmit={change.submit}>
        <p>{value.description}</p>
        <Field label={t("config.value")} hint={<Hint value={value} />}>
          <Editor value={value} text={text} onText={setText} />
        </Field>
        <Field label={t("config.why")} hint={t("config.why_hint")} optional>
          <Input value={why} maxLength={500} onChange={(event) => setWhy(event.target.value)} />
        </Field>
        {value.reach === "restart" && <p className="settings-notice">{t("config.restart_notice")}</p>}
        {problem && <ErrorState problem={problem} compact />}
        <DialogActions>
          {value.source === "api" && (
            <Button busy={reset.busy} onClick={reset.submit}>
              {t("config.take_back")}
            </Button>
          )}
          <Button onClick={onClose}>{t("common.cancel")}</Button>
          <Button type="submit" kind="primary" busy={change.busy} disabled={text === formatValue(value.value)}>
            {t("common.save")}
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}

function Hint({ value }: { value: ValueOut }) {
  const t = useT();
  const fallback = formatValue(value.default);
  return (
    <>
      {value.kind}. {t("config.default")}: {fallback ? <code>{fallback}</code> : t("config.none")}
    </>
  );
}

function Editor({ value, text, onText }: { value: ValueOut; text: string; onText: (text: string) => void }) {
  if (value.kind.startsWith("true")) {
    return (
      <Select value={text} onChange={(event) => onText(event.target.value)}>
        <option>true</option>
        <option>false</option>
      </Select>
    );
  }
  if (value.kind.startsWith("table") || text.length > 60) {
    return <Textarea rows={5} spellCheck={false} value={text} onChange={(event) => onText(event.target.value)} />;
  }
  return <Input value={text} spellCheck={false} autoComplete="off" onChange={(event) => onText(event.target.value)} />;
}
