import { getRouteApi } from "@tanstack/react-router";
import { PageHeader } from "../../../components/PageHeader";
import { useT } from "../../../i18n/i18n";
import { ProviderLink } from "../providers/ProviderLink";
import { OllamaModels } from "./OllamaModels";

const route = getRouteApi("/app/models/providers/$providerId/ollama");

export function OllamaPage() {
  const t = useT();
  const { providerId } = route.useParams();
  const { own } = route.useSearch();
  return (
    <>
      <PageHeader title={t("ollama.title")} detail={
          <ProviderLink scope={own === "true" ? "project" : "shared"} id={providerId}>
            {t("ollama.back")}
          </ProviderLink>
        } />
      <OllamaModels providerId={providerId} own={own === "true"} />
    </>
  );
}
