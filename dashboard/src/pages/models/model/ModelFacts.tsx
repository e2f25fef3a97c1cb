import type { ModelOut } from "../../../api/types";
import { Fact, Panel } from "../../../components/Panel";
import { Num } from "../../../components/Values";
import { useFormats } from "../../../i18n/format";
import { useT } from "../../../i18n/i18n";

export function Capabilities({ model }: { model: ModelOut }) {
  const t = useT();
  const formats = useFormats();
  const tools = model.capabilities.includes("tools");
  return (
    <Panel title={t("model.can")}>
      <dl className="facts">
        <Fact name={t("models.where")}>{t(model.local ? "models.local" : "models.remote")}</Fact>
        <Fact name={t("model.upstream")}>{model.upstream}</Fact>
        <Fact name={t("model.tools")}>
          <Known yes={tools} />
        </Fact>
        <Fact name={t("model.vision")}>
          <Known yes={model.capabilities.includes("vision")} />
        </Fact>
        <Fact name={t("model.json_schema")}>
          <Known yes={model.capabilities.includes("json_schema")} no={model.capabilities.includes("no_json_schema")} />
        </Fact>
        {model.specialties.length > 0 && <Fact name={t("models.specialties")}>{model.specialties.join(", ")}</Fact>}
        {model.share < 1 && <Fact name={t("models.on_trial")}>{t("models.on_trial_for", { share: formats.percent(model.share) })}</Fact>}
        {model.adjustments.length > 0 && <Fact name={t("models.adjusts")}>{model.adjustments.join("; ")}</Fact>}
      </dl>
      {!tools && <p className="muted small">{t("model.tools_unknown")}</p>}
    </Panel>
  );
}

function Known({ yes, no = false }: { yes: boolean; no?: boolean }) {
  const t = useT();
  if (yes) return <>{t("model.yes")}</>;
  return <span className="muted">{t(no ? "model.no" : "common.unknown")}</span>;
}

export function Limits({ model }: { model: ModelOut }) {
  const t = useT();
  const formats = useFormats();
  const { price, price_at: at } = model;
  return (
    <Panel title={t("model.limits")}>
      <dl className="facts">
        <Fact name={t("model.context")}>
          <Num value={model.context} />
        </Fact>
        <Fact name={t("models.answer_limit")}>
          <Num value={model.answer_limit} />
        </Fact>
        {price ? (
          <>
            <Fact name={t("model.price_in")}>{t("model.per_million", { price: formats.money(price.input) })}</Fact>
            <Fact name={t("model.price_out")}>{t("model.per_million", { price: formats.money(price.output) })}</Fact>
            <Fact name={t("model.price_at")}>
              {/* Noon, so that no time zone changes the day. */}
              {at ? formats.date(`${at}T12:00:00`) : <span className="muted">{t("common.unknown")}</span>}
            </Fact>
            {model.price_source && <Fact name={t("model.price_source")}>{model.price_source}</Fact>}
          </>
        ) : (
          <Fact name={t("model.price")}>
            <span className="muted">{t(model.local ? "model.price_free" : "model.price_unknown")}</span>
          </Fact>
        )}
        {model.price_per_hour !== null && (
          <Fact name={t("model.price_per_hour")}>{t("model.per_hour", { price: formats.money(model.price_per_hour) })}</Fact>
        )}
      </dl>
    </Panel>
  );
}
