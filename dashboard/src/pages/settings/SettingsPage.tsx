import { getRouteApi, Link } from "@tanstack/react-router";
import { useMe } from "../../api/queries";
import type { Permission } from "../../api/types";
import { EmptyState } from "../../components/EmptyState";
import { PageHeader } from "../../components/PageHeader";
import { SkeletonRows } from "../../components/Skeleton";
import { TabLinks } from "../../components/Tabs";
import { useT } from "../../i18n/i18n";
import { ConfigurationSection } from "./config/ConfigurationSection";
import { InvitationsSection } from "./InvitationsSection";
import { KeysSection } from "./KeysSection";
import { MembersSection } from "./MembersSection";
import { ProjectSection } from "./ProjectSection";
import { SessionsSection } from "./SessionsSection";

const route = getRouteApi("/app/settings/$section");

const SECTIONS: { section: "project" | "members" | "invitations" | "keys" | "config" | "sessions"; needs?: Permission; view: () => React.ReactNode }[] = [
  { section: "project", view: ProjectSection },
  { section: "members", needs: "members:read", view: MembersSection },
  { section: "invitations", needs: "members:manage", view: InvitationsSection },
  { section: "keys", needs: "keys:manage", view: KeysSection },
  { section: "config", needs: "config:read", view: ConfigurationSection },
  { section: "sessions", view: SessionsSection },
];

export function SettingsPage() {
  const t = useT();
  const me = useMe();
  const { section } = route.useParams();
  const allowed = SECTIONS.filter((one) => !one.needs || me?.permissions?.includes(one.needs));
  const View = allowed.find((one) => one.section === section)?.view;
  return (
    <>
      <PageHeader title={t("settings.title")} detail={me?.project_name} />
      <div className="stack">
        <TabLinks label={t("settings.title")}>
          {allowed.map((one) => (
            <Link key={one.section} to="/settings/$section" params={{ section: one.section }}>
              {t(`settings.${one.section}`)}
            </Link>
          ))}
        </TabLinks>
        {View ? <View /> : me ? <EmptyState title={t("error.not_found")} /> : <SkeletonRows rows={6} />}
      </div>
    </>
  );
}
