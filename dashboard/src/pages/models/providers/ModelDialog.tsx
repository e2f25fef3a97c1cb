import { useState } from "react";
import type { StoredModelOut } from "../../../api/types";
import { Button } from "../../../components/Button";
import { Dialog, DialogActions } from "../../../components/Dialog";
import { ErrorState } from "../../../components/ErrorState";
import { Checkbox, Field, Input } from "../../../components/Field";
import { useT } from "../../../i18n/i18n";
import { useSubmit } from "../../entry/useSubmit";
import { PriceInput } from "./ChosenModels";
import { editsOf, halfPriced, modelPatch, type ModelEdits } from "./drafts";
import { changeModel, type ProviderScope } from "./providerApi";

const CAPABILITIES = ["tools", "vision", "json_schema", "no_json_schema"];

export interface ModelDialogProps {
  scope: ProviderScope;
  providerId: string;
  model: StoredModelOut;
  onClose: () => void;
}

/** Changes a model's limits, price and state. Its names stay, because measurements refer to them. */
export function ModelDialog({ scope, providerId, model, onClose }: ModelDialogProps) {
  const t = useT();
  const [edits, setEdits] = useState(() => editsOf(model));
  const set = (part: Partial<ModelEdits>) => setEdits((old) => ({ ...old, ...part }));
  const half = halfPriced(edits);
  const { busy, problem, submit } = useSubmit(async () => {
    if (half) return;
    await changeModel(scope, providerId, model.id, modelPatch(model, edits));
    onClose();
  });
  return (
    <Dialog open onClose={onClose} title={t("providers.edit_model", { model: model.name })} width="wide">
      <form className="stack" onSubmit={submit}>
        <div className="form-grid">
          <Field label={t("models.context")} hint={t("providers.context_hint")} optional>
            <Input
              type="number"
              min={256}
              max={2_147_483_647}
              step={1}
              inputMode="numeric"
              value={edits.context}
              onChange={(event) => set({ context: event.target.value })}
            />
          </Field>
          <Field label={t("providers.tier")} hint={t("providers.tier_hint")} optional>
            <Input
              type="number"
              min={0}
              max={1}
              step="any"
              inputMode="decimal"
              value={edits.tier}
              onChange={(event) => set({ tier: event.target.value })}
            />
          </Field>
          <Field
            label={t("providers.price_input")}
            hint={t("providers.price_unknown_hint")}
            error={half && edits.input === "" ? t("providers.price_both") : undefined}
            optional
          >
            <PriceInput value={edits.input} onChange={(input) => set({ input })} />
          </Field>
          <Field label={t("providers.price_output")} error={half && edits.output === "" ? t("providers.price_both") : undefined} optional>
            <PriceInput value={edits.output} onChange={(output) => set({ output })} />
          </Field>
          {(model.local || edits.perHour !== "") && (
            <Field label={t("providers.price_hour")} hint={t("providers.price_hour_hint")} optional>
              <PriceInput value={edits.perHour} onChange={(perHour) => set({ perHour })} />
            </Field>
          )}
          <Field label={t("models.specialties")} hint={t("providers.specialties_hint")} optional>
            <Input value={edits.specialties} maxLength={5000} autoComplete="off" onChange={(event) => set({ specialties: event.target.value })} />
          </Field>
        </div>
        <Capabilities chosen={edits.capabilities} onChange={(capabilities) => set({ capabilities })} />
        <Checkbox label={t("providers.enabled")} checked={edits.enabled} onChange={(event) => set({ enabled: event.target.checked })} />
        {problem && <ErrorState problem={problem} compact />}
        <DialogActions>
          <Button onClick={onClose}>{t("common.cancel")}</Button>
          <Button type="submit" kind="primary" busy={busy}>
            {t("common.save")}
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}

/** Those of a server's list that Kairos does not know stay. */
function Capabilities({ chosen, onChange }: { chosen: string[]; onChange: (chosen: string[]) => void }) {
  const t = useT();
  return (
    <fieldset className="capability-list">
      <legend>{t("providers.capabilities")}</legend>
      {[...new Set([...CAPABILITIES, ...chosen])].map((name) => (
        <Checkbox
          key={name}
          label={<code>{name}</code>}
          checked={chosen.includes(name)}
          onChange={(event) => onChange(event.target.checked ? [...chosen, name] : chosen.filter((one) => one !== name))}
        />
      ))}
    </fieldset>
  );
}
