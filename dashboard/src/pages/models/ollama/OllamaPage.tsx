import { getRouteApi, Link } from "@tanstack/react-router";
import { PageHeader } from "../../../components/PageHeader";
import { useT } from "../../../i18n/i18n";
import { OllamaModels } from "./OllamaModels";

const route = getRouteApi("/app/models/providers/$providerId/ollama");

export function OllamaPage() {
  const t = useT();
  const { providerId } = route.useParams();
  const { own } = route.useSearch();
  return (
    <>
      <PageHeader title={t("ollama.title")} detail={<Link to="/models">{t("ollama.back")}</Link>} />
      <OllamaModels providerId={providerId} own={own === "true"} />
    </>
  );
}
