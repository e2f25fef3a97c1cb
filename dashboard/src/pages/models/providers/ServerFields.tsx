import { useEffect, useRef } from "react";
import type { KindOut } from "../../../api/types";
import { Field, Input, Select, Textarea } from "../../../components/Field";
import { useT } from "../../../i18n/i18n";
import { hasValidHeaders, type ServerDraft } from "./drafts";
import type { ProviderScope } from "./providerApi";

export interface ServerFieldsProps {
  kind: KindOut;
  scope: ProviderScope;
  draft: ServerDraft;
  onChange: (part: Partial<ServerDraft>) => void;
}

/** No input has a name, so that a form that is sent without the script puts no key into the address. */
export function ServerFields({ kind, scope, draft, onChange }: ServerFieldsProps) {
  const t = useT();
  return (
    <>
      <div className="form-grid">
        <Field label={t("common.name")} hint={t("providers.name_hint")}>
          <Input value={draft.name} maxLength={200} required autoComplete="off" onChange={(event) => onChange({ name: event.target.value })} />
        </Field>
        <Field label={t("providers.address")} hint={t(scope === "project" ? "providers.address_hint_project" : "providers.address_hint")}>
          <Input
            value={draft.address}
            type="url"
            inputMode="url"
            maxLength={2000}
            required={kind.address === null}
            placeholder={kind.address ?? "https://"}
            autoComplete="off"
            spellCheck={false}
            onChange={(event) => onChange({ address: event.target.value })}
          />
        </Field>
      </div>
      <Field label={t("providers.key")} hint={t("providers.key_hint")} optional={!kind.needs_key}>
        <KeyInput value={draft.key} onChange={(key) => onChange({ key })} />
      </Field>
      <details>
        <summary>{t("providers.more")}</summary>
        <div className="stack fold">
          <HeadersField value={draft.headers} onChange={(headers) => onChange({ headers })} />
          <CaField value={draft.ca} onChange={(ca) => onChange({ ca })} />
          {scope === "shared" && <LocalField value={draft.local} onChange={(local) => onChange({ local })} />}
        </div>
      </details>
    </>
  );
}

/**
 * React writes the value of a controlled input into its attribute, and so into the document, where extensions and
 * recordings of the page read it. This one has its value as a property only.
 */
export function KeyInput({ value, onChange, disabled }: { value: string; onChange: (key: string) => void; disabled?: boolean }) {
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (input.current && input.current.value !== value) input.current.value = value;
  }, [value]);
  return (
    <Input
      ref={input}
      type="password"
      maxLength={10_000}
      disabled={disabled}
      autoComplete="off"
      autoCapitalize="off"
      spellCheck={false}
      data-1p-ignore
      data-lpignore="true"
      onChange={(event) => onChange(event.target.value)}
    />
  );
}

export function HeadersField({ value, onChange, hint }: { value: string; onChange: (headers: string) => void; hint?: string }) {
  const t = useT();
  return (
    <Field
      label={t("providers.headers")}
      hint={hint ?? t("providers.headers_hint")}
      error={hasValidHeaders(value) ? undefined : t("providers.headers_invalid")}
      optional
    >
      <Textarea
        value={value}
        rows={2}
        className="mono short"
        autoComplete="off"
        spellCheck={false}
        placeholder="X-Organisation: research"
        onChange={(event) => onChange(event.target.value)}
      />
    </Field>
  );
}

export function CaField({ value, onChange }: { value: string; onChange: (ca: string) => void }) {
  const t = useT();
  return (
    <Field label={t("providers.ca")} hint={t("providers.ca_hint")} optional>
      <Textarea
        value={value}
        rows={3}
        maxLength={65_536}
        className="mono short"
        spellCheck={false}
        placeholder="-----BEGIN CERTIFICATE-----"
        onChange={(event) => onChange(event.target.value)}
      />
    </Field>
  );
}

export function LocalField({ value, onChange }: { value: ServerDraft["local"]; onChange: (local: ServerDraft["local"]) => void }) {
  const t = useT();
  return (
    <Field label={t("providers.local")} hint={t("providers.local_hint")}>
      <Select value={value} onChange={(event) => onChange(event.target.value as ServerDraft["local"])}>
        <option value="">{t("providers.local_auto")}</option>
        <option value="yes">{t("providers.local_yes")}</option>
        <option value="no">{t("providers.local_no")}</option>
      </Select>
    </Field>
  );
}
