import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { Circle, CircleAlert, CircleUser, Plus, Radio, RefreshCw, Search, TriangleAlert, WifiOff } from "lucide-react";
import { useRef, useState, type FormEvent, type RefObject } from "react";
import { readyQuery, useCan, useMe } from "../api/queries";
import { toProblem } from "../api/problem";
import { signOut } from "../auth/actions";
import { Badge, type Tone } from "../components/Badge";
import { Button } from "../components/Button";
import { Input } from "../components/Field";
import { Menu, MenuItem, MenuLabel, MenuLine, MenuRadio } from "../components/Menu";
import { showToast } from "../components/Toast";
import { LANGUAGES, setLanguage, useLanguage, useT, type Language } from "../i18n/i18n";
import { isId } from "../lib/ids";
import { useStore } from "../lib/store";
import { liveState } from "../live/live";
import type { LiveState } from "../live/socket";
import { openDialog } from "./dialogs";
import { ProjectMenu } from "./ProjectMenu";
import { setTheme, themeStore, type Theme } from "./theme";

export function Header() {
  const t = useT();
  const write = useCan("tasks:write");
  const menus = useRef<HTMLDivElement>(null);
  return (
    <header className="header">
      <ProjectMenu container={menus} />
      <SearchBox />
      <div className="row header-end">
        {write && (
          <Button kind="primary" icon={<Plus aria-hidden />} onClick={() => openDialog.set("submit")} aria-keyshortcuts="c" aria-label={t("shell.submit_task")} className="header-submit">
            <span className="header-text">{t("shell.submit_task")}</span>
          </Button>
        )}
        <Live />
        <Health />
        <UserMenu container={menus} />
      </div>
      <div ref={menus} />
    </header>
  );
}

function SearchBox() {
  const t = useT();
  const navigate = useNavigate();
  const [text, setText] = useState("");
  function search(event: FormEvent) {
    event.preventDefault();
    const q = text.trim();
    if (isId(q)) void navigate({ to: "/tasks/$taskId", params: { taskId: q } });
    else void navigate({ to: "/tasks", search: q ? { q } : {} });
  }
  return (
    <form role="search" className="search" onSubmit={search}>
      <Search aria-hidden />
      <Input
        id="search"
        type="search"
        value={text}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => event.key === "Escape" && event.currentTarget.blur()}
        placeholder={t("shell.search")}
        aria-label={t("shell.search")}
        aria-keyshortcuts="/"
      />
      <kbd aria-hidden>/</kbd>
    </form>
  );
}

const LIVE: Record<LiveState, { tone: Tone; icon: typeof Radio }> = {
  connecting: { tone: "neutral", icon: RefreshCw },
  connected: { tone: "good", icon: Radio },
  reconnecting: { tone: "warn", icon: RefreshCw },
  offline: { tone: "bad", icon: WifiOff },
};

function Live() {
  const t = useT();
  const state = useStore(liveState);
  const { tone, icon: Icon } = LIVE[state];
  return (
    <span role="status" className="live">
      <Badge tone={tone} icon={<Icon aria-hidden />} title={t("live.detail")}>
        <span className="live-text">{t(`live.${state}`)}</span>
      </Badge>
    </span>
  );
}

const HEALTH = {
  ok: { icon: Circle, colour: "var(--good)" },
  degraded: { icon: TriangleAlert, colour: "var(--warn)" },
  unavailable: { icon: CircleAlert, colour: "var(--bad)" },
  unknown: { icon: CircleAlert, colour: "var(--neutral)" },
} as const;

function Health() {
  const t = useT();
  const { data, isError } = useQuery(readyQuery());
  const status = !isError && data && data.status in HEALTH ? (data.status as keyof typeof HEALTH) : "unknown";
  const { icon: Icon, colour } = HEALTH[status];
  const label = t(`health.${status}`);
  return (
    <span role="img" aria-label={label} title={label} className="health">
      <Icon aria-hidden style={{ color: colour }} fill={status === "ok" ? "currentColor" : "none"} />
    </span>
  );
}

function UserMenu({ container }: { container: RefObject<HTMLElement | null> }) {
  const t = useT();
  const me = useMe();
  const navigate = useNavigate();
  const theme = useStore(themeStore);
  const language = useLanguage();
  async function leave() {
    try {
      await signOut();
    } catch (error) {
      showToast(toProblem(error).detail || t("error.unreachable"), { tone: "bad" });
    }
  }
  return (
    <Menu
      container={container}
      align="end"
      trigger={<Button kind="quiet" icon={<CircleUser aria-hidden />} aria-label={t("shell.user_menu")} title={me?.email} />}
    >
      <MenuLabel>{me?.name || me?.email}</MenuLabel>
      <MenuRadio<Theme>
        label={t("shell.theme")}
        value={theme}
        onChange={setTheme}
        options={[
          { value: "light", label: t("shell.theme_light") },
          { value: "dark", label: t("shell.theme_dark") },
          { value: "system", label: t("shell.theme_system") },
        ]}
      />
      <MenuLine />
      <MenuRadio<Language>
        label={t("shell.language")}
        value={language}
        onChange={(code) => void setLanguage(code, true)}
        options={LANGUAGES.map(({ code, name }) => ({ value: code, label: <span lang={code}>{name}</span> }))}
      />
      <MenuLine />
      <MenuItem onSelect={() => void navigate({ to: "/settings/$section", params: { section: "sessions" } })}>
        {t("shell.sessions")}
      </MenuItem>
      <MenuItem onSelect={() => void leave()}>{t("shell.sign_out")}</MenuItem>
    </Menu>
  );
}
