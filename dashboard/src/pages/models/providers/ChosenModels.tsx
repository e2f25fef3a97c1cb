import { X } from "lucide-react";
import { Button } from "../../../components/Button";
import { Field, Input } from "../../../components/Field";
import { useFormats } from "../../../i18n/format";
import { useT } from "../../../i18n/i18n";
import { halfPriced, type ChosenModel } from "./drafts";

export interface ChosenModelsProps {
  chosen: readonly ChosenModel[];
  /** Whether the provider's models run on the operator's own hardware, as far as that was entered. */
  local: boolean;
  onChange: (chosen: ChosenModel[]) => void;
}

/** The chosen models with their optional names and prices. */
export function ChosenModels({ chosen, local, onChange }: ChosenModelsProps) {
  const t = useT();
  if (chosen.length === 0) return null;
  const set = (upstream: string, part: Partial<ChosenModel>) =>
    onChange(chosen.map((model) => (model.upstream === upstream ? { ...model, ...part } : model)));
  return (
    <ul className="chosen-list" aria-label={t("providers.chosen")}>
      {chosen.map((model) => (
        <li key={model.upstream} className="chosen">
          <div className="spread">
            <strong className="break">{model.upstream}</strong>
            <Button
              kind="quiet"
              size="small"
              icon={<X aria-hidden />}
              aria-label={t("providers.unchoose", { model: model.upstream })}
              onClick={() => onChange(chosen.filter((one) => one.upstream !== model.upstream))}
            />
          </div>
          <details>
            <summary>{t("providers.chosen_more")}</summary>
            <Fields model={model} local={local || (model.listed?.local ?? false)} onChange={(part) => set(model.upstream, part)} />
          </details>
        </li>
      ))}
    </ul>
  );
}

interface FieldsProps {
  model: ChosenModel;
  local: boolean;
  onChange: (part: Partial<ChosenModel>) => void;
}

function Fields({ model, local, onChange }: FieldsProps) {
  const t = useT();
  const formats = useFormats();
  const price = model.listed?.price;
  const hint = price ? t("providers.price_listed", { input: formats.money(price.input), output: formats.money(price.output) }) : undefined;
  return (
    <div className="form-grid fold">
      <Field label={t("providers.model_name")} hint={t("providers.model_name_hint")} optional>
        <Input value={model.name} maxLength={200} autoComplete="off" spellCheck={false} onChange={(event) => onChange({ name: event.target.value })} />
      </Field>
      <Field
        label={t("providers.price_input")}
        hint={hint}
        error={halfPriced(model) && model.input === "" ? t("providers.price_both") : undefined}
        optional
      >
        <PriceInput value={model.input} onChange={(input) => onChange({ input })} />
      </Field>
      <Field label={t("providers.price_output")} error={halfPriced(model) && model.output === "" ? t("providers.price_both") : undefined} optional>
        <PriceInput value={model.output} onChange={(output) => onChange({ output })} />
      </Field>
      {local && (
        <Field label={t("providers.price_hour")} hint={t("providers.price_hour_hint")} optional>
          <PriceInput value={model.perHour} onChange={(perHour) => onChange({ perHour })} />
        </Field>
      )}
    </div>
  );
}

/** USD. The browser refuses a negative number. */
export function PriceInput({ value, onChange }: { value: string; onChange: (value: string) => void }) {
  return (
    <Input
      type="number"
      min={0}
      max={1_000_000}
      step="any"
      inputMode="decimal"
      value={value}
      autoComplete="off"
      onChange={(event) => onChange(event.target.value)}
    />
  );
}
