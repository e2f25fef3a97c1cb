import { useState } from "react";
import { api, ok } from "../../api/client";
import type { NewKey, Permission } from "../../api/types";
import { useMe } from "../../api/queries";
import { Button } from "../../components/Button";
import { Dialog, DialogActions } from "../../components/Dialog";
import { ErrorState } from "../../components/ErrorState";
import { Checkbox, Field, Input, Select } from "../../components/Field";
import { useT, type MessageKey } from "../../i18n/i18n";
import { useSubmit } from "../entry/useSubmit";
import { KEY_SCOPES } from "./roles";

const LIFETIMES = [7, 30, 90, 365] as const;

export function NewKeyDialog({ onClose, onMade }: { onClose: () => void; onMade: (key: NewKey) => void }) {
  const t = useT();
  const me = useMe();
  const [name, setName] = useState("");
  const [scopes, setScopes] = useState<readonly Permission[]>([]);
  const [days, setDays] = useState("90");
  const { busy, problem, submit } = useSubmit(async () => {
    const body = { name: name.trim(), scopes: [...scopes], days: days ? Number(days) : null };
    onMade(await ok(api.POST("/api/keys", { body })));
  });
  const offered = KEY_SCOPES.filter((scope) => me?.permissions.includes(scope));
  return (
    <Dialog open onClose={onClose} title={t("settings.create_key")} width="wide">
      <form className="stack" onSubmit={submit}>
        <div className="form-grid">
          <Field label={t("common.name")} hint={t("settings.key_name_hint")}>
            <Input required maxLength={100} autoComplete="off" value={name} onChange={(event) => setName(event.target.value)} />
          </Field>
          <Field label={t("settings.expires")}>
            <Select value={days} onChange={(event) => setDays(event.target.value)}>
              {LIFETIMES.map((lifetime) => (
                <option key={lifetime} value={lifetime}>
                  {t("settings.in_days", { count: lifetime })}
                </option>
              ))}
              <option value="">{t("settings.never_expires")}</option>
            </Select>
          </Field>
        </div>
        <fieldset className="scope-list">
          <legend>{t("settings.scopes")}</legend>
          {offered.map((scope) => (
            <Checkbox
              key={scope}
              checked={scopes.includes(scope)}
              onChange={(event) =>
                setScopes(event.target.checked ? [...scopes, scope] : scopes.filter((one) => one !== scope))
              }
              label={
                <>
                  <code>{scope}</code> <span className="muted">{t(`scope.${scope}` as MessageKey)}</span>
                </>
              }
            />
          ))}
          <p className="muted small">{t("settings.scopes_hint")}</p>
        </fieldset>
        {problem && <ErrorState problem={problem} compact />}
        <DialogActions>
          <Button onClick={onClose}>{t("common.cancel")}</Button>
          <Button type="submit" kind="primary" busy={busy} disabled={scopes.length === 0 || !name.trim()}>
            {t("common.create")}
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}
