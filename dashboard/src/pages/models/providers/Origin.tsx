import { useQuery } from "@tanstack/react-query";
import type { ModelOut } from "../../../api/types";
import { useT } from "../../../i18n/i18n";
import { ProviderLink } from "./ProviderLink";
import { providersQuery, useScopes } from "./providerApi";

/** Where a model's entry is, and so where it can be changed. */
export function Origin({ model }: { model: ModelOut }) {
  const t = useT();
  if (model.origin === "file") return <>{t("providers.origin_file")}</>;
  if (model.origin === "stored" && model.provider_id) return <StoredOrigin providerId={model.provider_id} />;
  return <>{t("providers.origin_embedded")}</>;
}

function StoredOrigin({ providerId }: { providerId: string }) {
  const t = useT();
  const scopes = useScopes() ?? [];
  const shared = useQuery({ ...providersQuery("shared"), enabled: scopes.includes("shared") });
  const own = useQuery({ ...providersQuery("project"), enabled: scopes.includes("project") });
  const has = (items?: { id: string }[]) => items?.some((provider) => provider.id === providerId) ?? false;
  const scope = has(own.data) ? "project" : has(shared.data) ? "shared" : null;
  if (scope === null) return <>{t("providers.origin_stored")}</>;
  return (
    <ProviderLink scope={scope} id={providerId}>
      {t("providers.origin_stored")}
    </ProviderLink>
  );
}
