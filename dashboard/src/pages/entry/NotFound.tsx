import { Link } from "@tanstack/react-router";
import { EmptyState } from "../../components/EmptyState";
import { PageHeader } from "../../components/PageHeader";
import { useT } from "../../i18n/i18n";

export function NotFound() {
  const t = useT();
  return (
    <main>
      <PageHeader title={t("error.not_found")} />
      <EmptyState title={t("error.not_found_detail")} action={<Link to="/">{t("error.to_overview")}</Link>} />
    </main>
  );
}
