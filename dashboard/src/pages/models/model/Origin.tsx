import { useCan, useMe } from "../../../api/queries";
import type { ModelOut } from "../../../api/types";
import { useT } from "../../../i18n/i18n";
import { ProviderLink } from "../providers/ProviderLink";

/** Where the model's entry comes from, and where it can be changed. */
export function Origin({ model }: { model: ModelOut }) {
  const t = useT();
  const may = useMayManage(model);
  if (model.base !== null) return <span>{t("model.origin_adapter", { base: model.base })}</span>;
  return (
    <span>
      {t(`model.origin_${model.origin}`, { base: "" })}
      {may && model.provider_id !== null && (
        <>
          {" "}
          <ProviderLink scope={model.own ? "project" : "shared"} id={model.provider_id}>
            {t("model.provider")}
          </ProviderLink>
        </>
      )}
    </span>
  );
}

/** Operators manage the shared providers, owners those of their project. */
function useMayManage(model: ModelOut): boolean {
  const operator = useMe()?.operator ?? false;
  const owner = useCan("providers:manage");
  return model.own ? owner : operator;
}
