import { useQuery } from "@tanstack/react-query";
import { CircleCheck, CircleX, TriangleAlert } from "lucide-react";
import type { Replica } from "../../../api/contract";
import { Badge } from "../../../components/Badge";
import { Loaded } from "../../../components/Loaded";
import { Section } from "../../../components/Section";
import { RelativeTime } from "../../../components/Values";
import { useT } from "../../../i18n/i18n";
import { replicasQuery } from "./queries";

export function Replicas() {
  const t = useT();
  const query = useQuery(replicasQuery());
  return (
    <Section title={t("config.replicas")} detail={t("config.replicas_detail")}>
      <Loaded query={query}>
        {({ items, version }) => (
          <ul className="config-list">
            {items.map((replica) => (
              <li key={replica.name} className="config-row">
                <div className="config-key">
                  <code>{replica.name}</code>
                  <span className="muted small">
                    {t("config.role", { role: replica.role })} · <RelativeTime at={replica.heartbeat_at} />
                  </span>
                </div>
                <div className="config-value">
                  <Standing replica={replica} version={version} />
                </div>
              </li>
            ))}
          </ul>
        )}
      </Loaded>
    </Section>
  );
}

function Standing({ replica, version }: { replica: Replica; version: number }) {
  const t = useT();
  if (!replica.alive) return <Badge icon={<CircleX aria-hidden />}>{t("config.gone")}</Badge>;
  if (replica.newest && replica.waiting.length === 0) {
    return (
      <Badge tone="good" icon={<CircleCheck aria-hidden />}>
        {t("config.at_version", { version: replica.version })}
      </Badge>
    );
  }
  const notice = replica.waiting.length > 0 ? t("config.restart_for", { keys: replica.waiting.join(", ") }) : replica.error;
  return (
    <>
      <Badge tone="warn" icon={<TriangleAlert aria-hidden />}>
        {replica.newest ? t("config.waiting") : t("config.behind", { version: replica.version, newest: version })}
      </Badge>
      {notice && <span className="small">{notice}</span>}
    </>
  );
}
