import { Link } from "@tanstack/react-router";
import { useCan, useMe } from "../../../api/queries";
import type { ModelOut } from "../../../api/types";
import { useT } from "../../../i18n/i18n";

/** Where the model's entry comes from, and where it can be changed. */
export function Origin({ model }: { model: ModelOut }) {
  const t = useT();
  if (model.base !== null) return <span>{t("model.origin_adapter", { base: model.base })}</span>;
  return (
    <span>
      {t(`model.origin_${model.origin}`, { base: "" })}
      {model.origin === "stored" && model.provider_id !== null && <ProviderLink id={model.provider_id} own={model.own} />}
    </span>
  );
}

/** Operators manage the shared providers, owners those of their project. */
function ProviderLink({ id, own }: { id: string; own: boolean }) {
  const t = useT();
  const operator = useMe()?.operator ?? false;
  const owner = useCan("providers:manage");
  if (own ? !owner : !operator) return null;
  return (
    <>
      {" "}
      <Link to={PROVIDER} params={{ providerId: id } as never} search={(own ? { own: "true" } : {}) as never}>
        {t("model.provider")}
      </Link>
    </>
  );
}

const PROVIDER: string = "/models/providers/$providerId";
