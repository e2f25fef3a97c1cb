import { Link } from "@tanstack/react-router";
import type { ModelOut } from "../../../api/types";
import { ModelLink } from "../../../components/ModelLink";
import { Fact, Panel } from "../../../components/Panel";
import { useFormats } from "../../../i18n/format";
import { useT } from "../../../i18n/i18n";
import { Health } from "../Catalogue";

/** The adapters of a base model; the base model of an adapter. */
export function ModelFamily({ model, models }: { model: ModelOut; models: ModelOut[] }) {
  const t = useT();
  return <Panel title={t("model.family")}>{model.base === null ? <AdapterList of={model.name} models={models} /> : <BaseFacts adapter={model} base={model.base} />}</Panel>;
}

function BaseFacts({ adapter, base }: { adapter: ModelOut; base: string }) {
  const t = useT();
  return (
    <>
      <dl className="facts">
        <Fact name={t("model.base")}>
          <ModelLink name={base} />
        </Fact>
      </dl>
      {adapter.adapter_id !== null && (
        <Link to="/learning/adapters/$adapterId" params={{ adapterId: adapter.adapter_id }}>
          {t("model.adapter")}
        </Link>
      )}
    </>
  );
}

function AdapterList({ of, models }: { of: string; models: ModelOut[] }) {
  const t = useT();
  const formats = useFormats();
  const adapters = models.filter((one) => one.base === of);
  if (adapters.length === 0) return <p className="muted">{t("model.no_adapters")}</p>;
  return (
    <ul className="model-family-list">
      {adapters.map((one) => (
        <li key={one.name} className="spread">
          <span className="truncate">
            <ModelLink name={one.name} />
            {one.share < 1 && <span className="muted small"> {t("models.on_trial_for", { share: formats.percent(one.share) })}</span>}
          </span>
          <Health state={one.health} />
        </li>
      ))}
    </ul>
  );
}
