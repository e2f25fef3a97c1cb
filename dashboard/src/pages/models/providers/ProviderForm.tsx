import { useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import type { ProviderOut } from "../../../api/types";
import { toProblem, type Problem } from "../../../api/problem";
import { projectKey } from "../../../api/queries";
import { Button } from "../../../components/Button";
import { ErrorState } from "../../../components/ErrorState";
import { Checkbox, Field, Input, Select } from "../../../components/Field";
import { Section } from "../../../components/Section";
import { showToast } from "../../../components/Toast";
import { useFormats } from "../../../i18n/format";
import { useT } from "../../../i18n/i18n";
import { hasValidHeaders, providerPatch, type ProviderEdits } from "./drafts";
import { openFold } from "./openFold";
import { changeProvider, type ProviderScope } from "./providerApi";
import { CaField, HeadersField, KeyInput } from "./ServerFields";

/** Only the edited fields are held here, so that they stay when a newer version of the provider is loaded. */
export function ProviderForm({ scope, provider }: { scope: ProviderScope; provider: ProviderOut }) {
  const t = useT();
  const [edits, setEdits] = useState<ProviderEdits>({});
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const set = (part: ProviderEdits) => setEdits((old) => ({ ...old, ...part }));
  const valid = hasValidHeaders(edits.headers ?? "");
  const patch = valid ? providerPatch(provider, edits) : null;

  async function save(event: FormEvent) {
    event.preventDefault();
    if (!patch) return;
    setBusy(true);
    setProblem(null);
    try {
      await changeProvider(scope, provider.id, patch);
      setEdits({});
      showToast(t("common.changed"));
    } catch (error) {
      setProblem(toProblem(error));
    } finally {
      setBusy(false);
    }
  }

  return (
    <Section title={t("providers.settings")}>
      <form className="stack provider-form" onSubmit={save} onInvalidCapture={openFold}>
        <Fields scope={scope} provider={provider} edits={edits} onChange={set} />
        {problem &&
          (problem.code === "provider_moved" ? (
            <Moved scope={scope} provider={provider} onLoaded={() => setProblem(null)} />
          ) : (
            <ErrorState problem={problem} compact />
          ))}
        <div className="row">
          <Button type="submit" kind="primary" busy={busy} disabled={patch === null}>
            {t("common.save")}
          </Button>
        </div>
      </form>
    </Section>
  );
}

function Moved({ scope, provider, onLoaded }: { scope: ProviderScope; provider: ProviderOut; onLoaded: () => void }) {
  const t = useT();
  const client = useQueryClient();
  const [busy, setBusy] = useState(false);
  async function load() {
    setBusy(true);
    await client.refetchQueries({ queryKey: projectKey("provider", scope, provider.id) });
    setBusy(false);
    onLoaded();
  }
  return (
    <div role="alert" className="moved">
      <p>{t("providers.moved")}</p>
      <Button size="small" busy={busy} onClick={() => void load()}>
        {t("providers.load_current")}
      </Button>
    </div>
  );
}

interface FieldsProps {
  scope: ProviderScope;
  provider: ProviderOut;
  edits: ProviderEdits;
  onChange: (part: ProviderEdits) => void;
}

function Fields({ scope, provider, edits, onChange }: FieldsProps) {
  const t = useT();
  /** The stored value beside an edited one: after a reload, someone else's. */
  const stored = (edited: string | undefined, value: string) =>
    edited !== undefined && edited !== value ? t("providers.stored_value", { value }) : undefined;
  return (
    <>
      <div className="form-grid">
        <Field label={t("common.name")} hint={stored(edits.name, provider.name)}>
          <Input
            value={edits.name ?? provider.name}
            maxLength={200}
            required
            autoComplete="off"
            onChange={(event) => onChange({ name: event.target.value })}
          />
        </Field>
        <Field label={t("providers.address")} hint={stored(edits.address, provider.address)}>
          <Input
            value={edits.address ?? provider.address}
            type="url"
            inputMode="url"
            maxLength={2000}
            required
            autoComplete="off"
            spellCheck={false}
            onChange={(event) => onChange({ address: event.target.value })}
          />
        </Field>
      </div>
      <KeyFields provider={provider} edits={edits} onChange={onChange} />
      <details>
        <summary>{t("providers.more")}</summary>
        <div className="stack fold">
          <HeaderFields provider={provider} edits={edits} onChange={onChange} />
          <CaField value={edits.ca ?? provider.ca ?? ""} onChange={(ca) => onChange({ ca })} />
          {scope === "shared" && (
            <Field label={t("providers.local")} hint={t("providers.local_hint")}>
              <Select
                value={(edits.local ?? provider.local) ? "yes" : "no"}
                onChange={(event) => onChange({ local: event.target.value === "yes" })}
              >
                <option value="yes">{t("providers.local_yes")}</option>
                <option value="no">{t("providers.local_no")}</option>
              </Select>
            </Field>
          )}
        </div>
      </details>
    </>
  );
}

function KeyFields({ provider, edits, onChange }: Omit<FieldsProps, "scope">) {
  const t = useT();
  const formats = useFormats();
  const hint = provider.key_set_at
    ? t("providers.key_stored", { when: formats.dateTime(provider.key_set_at) })
    : t("providers.key_none");
  return (
    <>
      <Field label={t(provider.has_key ? "providers.new_key" : "providers.key")} hint={hint} optional>
        <KeyInput value={edits.key ?? ""} disabled={edits.removeKey} onChange={(key) => onChange({ key })} />
      </Field>
      {provider.has_key && (
        <Checkbox
          label={t("providers.remove_key")}
          checked={edits.removeKey ?? false}
          onChange={(event) => onChange({ removeKey: event.target.checked })}
        />
      )}
    </>
  );
}

function HeaderFields({ provider, edits, onChange }: Omit<FieldsProps, "scope">) {
  const t = useT();
  const names = provider.header_names.join(", ");
  return (
    <>
      <HeadersField
        value={edits.headers ?? ""}
        onChange={(headers) => onChange({ headers })}
        {...(names && { hint: t("providers.headers_stored", { names }) })}
      />
      {names && (
        <Checkbox
          label={t("providers.remove_headers")}
          checked={edits.removeHeaders ?? false}
          onChange={(event) => onChange({ removeHeaders: event.target.checked })}
        />
      )}
    </>
  );
}
