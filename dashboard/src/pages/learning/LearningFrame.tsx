import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { useCan } from "../../api/queries";
import { PageHeader } from "../../components/PageHeader";
import { TabLinks } from "../../components/Tabs";
import { useT } from "../../i18n/i18n";
import "../../components/Panel.css";
import "./learning.css";
import "./training.css";

/** The title and navigation shared by the pages of this area. */
export function LearningFrame({ title, detail, actions, children }: { title: string; detail?: ReactNode; actions?: ReactNode; children: ReactNode }) {
  const t = useT();
  const label = useCan("dataset:write");
  const read = useCan("dataset:read");
  return (
    <>
      <PageHeader title={title} detail={detail}>
        {actions}
      </PageHeader>
      <div className="stack learning">
        <TabLinks label={t("learning.title")}>
          <Link to="/learning" activeOptions={{ exact: true }}>
            {t("learning.overview")}
          </Link>
          {label && <Link to="/learning/label">{t("learning.label")}</Link>}
          {read && (
            <Link to="/learning/dataset" activeOptions={{ includeSearch: false }}>
              {t("learning.dataset")}
            </Link>
          )}
        </TabLinks>
        {children}
      </div>
    </>
  );
}
