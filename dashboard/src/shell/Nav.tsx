import { Link } from "@tanstack/react-router";
import { useMe } from "../api/queries";
import { useT } from "../i18n/i18n";
import { NAV } from "./navigation";

export function Nav() {
  const t = useT();
  const me = useMe();
  const entries = NAV.filter(
    (entry) => (!entry.needs || me?.permissions?.includes(entry.needs)) && (!entry.operators || me?.operator),
  );
  return (
    <nav className="nav" aria-label={t("nav.main")}>
      {entries.map(({ to, name, icon: Icon, letter }) => (
        <Link key={to} to={to} activeOptions={{ exact: to === "/", includeSearch: false }} title={`g ${letter}`} className="nav-link">
          <Icon aria-hidden />
          <span>{t(name)}</span>
        </Link>
      ))}
    </nav>
  );
}
