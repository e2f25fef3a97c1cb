import { useQuery } from "@tanstack/react-query";
import { CircleCheck, CircleX, TriangleAlert } from "lucide-react";
import type { DaemonOut } from "../../../api/types";
import { daemonsQuery } from "../../../api/queries";
import { Badge } from "../../../components/Badge";
import { Loaded } from "../../../components/Loaded";
import { Section } from "../../../components/Section";
import { RelativeTime } from "../../../components/Values";
import { useT } from "../../../i18n/i18n";

export function Replicas() {
  const t = useT();
  const query = useQuery(daemonsQuery());
  return (
    <Section title={t("config.replicas")} detail={t("config.replicas_detail")}>
      <Loaded query={query}>
        {({ items, config_version }) => (
          <ul className="config-list">
            {items.map((daemon) => (
              <li key={daemon.name} className="config-row">
                <div className="config-key">
                  <code>{daemon.name}</code>
                  <span className="muted small">
                    {t("config.role", { role: daemon.role })} · <RelativeTime at={daemon.heartbeat_at} />
                  </span>
                </div>
                <div className="config-value">
                  <Standing daemon={daemon} newest={config_version} />
                </div>
              </li>
            ))}
          </ul>
        )}
      </Loaded>
    </Section>
  );
}

function Standing({ daemon, newest }: { daemon: DaemonOut; newest: number }) {
  const t = useT();
  if (!daemon.alive) return <Badge icon={<CircleX aria-hidden />}>{t("config.gone")}</Badge>;
  if (daemon.config_newest && daemon.config_waiting.length === 0) {
    return (
      <Badge tone="good" icon={<CircleCheck aria-hidden />}>
        {t("config.at_version", { version: daemon.config_version })}
      </Badge>
    );
  }
  const notice = daemon.config_waiting.length > 0 ? t("config.restart_for", { keys: daemon.config_waiting.join(", ") }) : daemon.config_error;
  return (
    <>
      <Badge tone="warn" icon={<TriangleAlert aria-hidden />}>
        {daemon.config_newest ? t("config.waiting") : t("config.behind", { version: daemon.config_version, newest })}
      </Badge>
      {notice && <span className="small">{notice}</span>}
    </>
  );
}
