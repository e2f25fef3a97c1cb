import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import type { Adapter } from "../../../api/learning";
import { EmptyState } from "../../../components/EmptyState";
import { Loaded } from "../../../components/Loaded";
import { Section } from "../../../components/Section";
import { RelativeTime } from "../../../components/Values";
import { useT } from "../../../i18n/i18n";
import { ADAPTERS } from "../anchors";
import { adaptersQuery } from "../queries";
import { byBase } from "./actions";
import { AdapterActions } from "./AdapterActions";
import { AdapterBadge, Serving } from "./AdapterBadge";

/** The adapters of each base model, newest first. */
export function Adapters() {
  const t = useT();
  return (
    <Section title={t("learning.adapters")} anchor={ADAPTERS} detail={t("learning.adapters_detail")}>
      <Loaded query={useQuery(adaptersQuery())}>
        {(adapters) => {
          const groups = byBase(adapters);
          if (groups.length === 0) return <EmptyState title={t("learning.no_adapters")}>{t("learning.no_adapters_detail")}</EmptyState>;
          return groups.map(([base, list]) => (
            <div key={base} className="adapter-group">
              <h3>{base}</h3>
              <ul className="adapter-list">
                {list.map((adapter) => (
                  <Row key={adapter.id} adapter={adapter} />
                ))}
              </ul>
            </div>
          ));
        }}
      </Loaded>
    </Section>
  );
}

function Row({ adapter }: { adapter: Adapter }) {
  const t = useT();
  return (
    <li className="adapter-row">
      <div className="adapter-text">
        <span className="row adapter-name">
          <Link to="/learning/adapters/$adapterId" params={{ adapterId: adapter.id }}>
            {adapter.name}
          </Link>
          <AdapterBadge state={adapter.state} />
          <span className="muted small">
            {t("adapter.changed")} <RelativeTime at={adapter.changed_at} />
          </span>
        </span>
        <span className="small">
          <Serving adapter={adapter} />
        </span>
        {adapter.reason && <span className="muted small">{adapter.reason}</span>}
      </div>
      <AdapterActions adapter={adapter} small />
    </li>
  );
}
