import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, ok } from "../../api/client";
import type { PluginOut } from "../../api/types";
import { projectKey, useMe } from "../../api/queries";
import { Button } from "../../components/Button";
import { Dialog, DialogActions } from "../../components/Dialog";
import { ErrorState } from "../../components/ErrorState";
import { Field, Input, Select, Textarea } from "../../components/Field";
import { showToast } from "../../components/Toast";
import { translate, useT } from "../../i18n/i18n";
import { useSubmit } from "../entry/useSubmit";
import { configChanged, configQuery } from "../settings/config/queries";
import { fieldsOf, parseField, write, type SchemaField } from "./schemaFields";

/** A form for the plugin's schema. Operators can also set values for all projects. */
export function PluginDialog({ plugin, onClose }: { plugin: PluginOut; onClose: () => void }) {
  const t = useT();
  const client = useQueryClient();
  const operator = useMe()?.operator ?? false;
  const known = useQuery(configQuery()).data;
  const fields = fieldsOf(plugin.config_schema);
  const before = Object.fromEntries(fields.map(({ name }) => [name, write(plugin.config[name])]));
  const [draft, setDraft] = useState(before);
  const [everywhere, setEverywhere] = useState(false);
  const changed = fields.filter(({ name, projectScoped }) => draft[name] !== before[name] && (everywhere || projectScoped));

  const { busy, problem, submit } = useSubmit(async () => {
    const values = Object.fromEntries(changed.map((field) => [field.name, parseField(draft[field.name] ?? "", field)]));
    const key = everywhere ? "plugins.settings" : "project.plugin_settings";
    const body = {
      changes: { [key]: { [plugin.name]: values } },
      version: known?.version,
      project_version: known?.project_version,
    };
    await ok(api.PATCH("/api/config", { body }));
    showToast(translate("common.changed"));
    configChanged(client);
    await client.invalidateQueries({ queryKey: projectKey("plugins") });
    onClose();
  });

  return (
    <Dialog open onClose={onClose} title={t("plugins.configure_name", { name: plugin.name })}>
      <form className="stack" onSubmit={submit}>
        {fields.map((field) => (
          <OneField
            key={field.name}
            field={field}
            closed={!everywhere && !field.projectScoped}
            text={draft[field.name] ?? ""}
            onText={(text) => setDraft({ ...draft, [field.name]: text })}
          />
        ))}
        {operator && (
          <Field label={t("plugins.for_whom")}>
            <Select value={String(everywhere)} onChange={(event) => setEverywhere(event.target.value === "true")}>
              <option value="false">{t("plugins.this_project")}</option>
              <option value="true">{t("plugins.all_projects")}</option>
            </Select>
          </Field>
        )}
        {problem && <ErrorState problem={problem} compact />}
        <DialogActions>
          <Button onClick={onClose}>{t("common.cancel")}</Button>
          <Button type="submit" kind="primary" busy={busy} disabled={changed.length === 0 || known === undefined}>
            {t("common.save")}
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}

interface OneFieldProps {
  field: SchemaField;
  /** Only operators can set this field, and the dialog edits the project's values. */
  closed: boolean;
  text: string;
  onText: (text: string) => void;
}

function OneField({ field, closed, text, onText }: OneFieldProps) {
  const t = useT();
  const { name, kind, description, fallback, secret, choices } = field;
  const hints = [description, fallback && t("plugins.default", { value: fallback }), closed && t("plugins.operators")];
  const hint = secret ? t("plugins.secret") : hints.filter(Boolean).join(" ");
  const options = kind === "boolean" ? ["true", "false"] : choices;
  return (
    <Field label={<code>{name}</code>} hint={hint}>
      {kind === "json" ? (
        <Textarea rows={4} spellCheck={false} value={text} disabled={closed || secret} onChange={(event) => onText(event.target.value)} />
      ) : kind === "choice" || kind === "boolean" ? (
        <Select value={text} disabled={closed || secret} onChange={(event) => onText(event.target.value)}>
          <option value="">{t("plugins.as_default")}</option>
          {options.map((option) => (
            <option key={option}>{option}</option>
          ))}
        </Select>
      ) : (
        <Input
          value={text}
          spellCheck={false}
          autoComplete="off"
          disabled={closed || secret}
          inputMode={kind === "number" ? "decimal" : undefined}
          onChange={(event) => onText(event.target.value)}
        />
      )}
    </Field>
  );
}
