import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useCan, useProjectId } from "../../../api/queries";
import { Loaded } from "../../../components/Loaded";
import { Panel } from "../../../components/Panel";
import { useT } from "../../../i18n/i18n";
import { projectQuery } from "../../settings/queries";

/** The project's labelling guideline. */
export function Guideline() {
  const t = useT();
  const id = useProjectId();
  const query = useQuery({ ...projectQuery(id ?? ""), enabled: id !== null });
  const may = useCan("project:manage");
  return (
    <aside className="labelling-side">
      <Panel
        title={t("labelling.guideline")}
        aside={
          may && (
            <Link to="/settings/$section" params={{ section: "project" }} className="small">
              {t("labelling.guideline_edit")}
            </Link>
          )
        }
      >
        <Loaded query={query}>
          {({ settings }) =>
            settings.labelling_guideline ? (
              <p className="guideline">{settings.labelling_guideline}</p>
            ) : (
              <p className="muted">{t("labelling.no_guideline")}</p>
            )
          }
        </Loaded>
      </Panel>
    </aside>
  );
}
