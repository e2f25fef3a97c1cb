import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { CircleAlert, CircleCheck, CircleSlash, Timer } from "lucide-react";
import { useState } from "react";
import { api, ok } from "../../api/client";
import type { PluginOut } from "../../api/types";
import { toProblem } from "../../api/problem";
import { pluginsQuery, projectKey, useCan, useMe } from "../../api/queries";
import { Badge, type Tone } from "../../components/Badge";
import { Button } from "../../components/Button";
import { EmptyState } from "../../components/EmptyState";
import { Loaded } from "../../components/Loaded";
import { Section } from "../../components/Section";
import { showToast } from "../../components/Toast";
import { Num, RelativeTime } from "../../components/Values";
import { translate, useT, type MessageKey } from "../../i18n/i18n";
import { PluginDialog } from "./PluginDialog";
import { fieldsOf } from "./schemaFields";

const STATES: Record<string, { tone: Tone; icon: typeof CircleCheck; label: MessageKey }> = {
  loaded: { tone: "good", icon: CircleCheck, label: "plugins.loaded" },
  failed: { tone: "bad", icon: CircleAlert, label: "plugins.failed" },
  set_aside: { tone: "warn", icon: Timer, label: "plugins.set_aside" },
  disabled: { tone: "neutral", icon: CircleSlash, label: "plugins.disabled" },
};

/** Plugins that operators installed; built-in agents are listed above. */
export function Plugins() {
  const t = useT();
  const query = useQuery(pluginsQuery());
  const [confirming, setConfirming] = useState<PluginOut | null>(null);
  const operator = useMe()?.operator ?? false;
  return (
    <Section title={t("plugins.title")} detail={t("plugins.detail")} actions={operator && <ScanAgain />}>
      <Loaded query={query}>
        {(all) => {
          const plugins = all.filter(({ source }) => source !== "built-in");
          if (plugins.length === 0) return <EmptyState title={t("plugins.none")}>{t("plugins.none_detail")}</EmptyState>;
          return (
            <ul className="agents" aria-label={t("plugins.title")}>
              {plugins.map((plugin) => (
                <Card key={`${plugin.name} ${plugin.file}`} plugin={plugin} onConfigure={() => setConfirming(plugin)} />
              ))}
            </ul>
          );
        }}
      </Loaded>
      {confirming && <PluginDialog plugin={confirming} onClose={() => setConfirming(null)} />}
    </Section>
  );
}

function Card({ plugin, onConfigure }: { plugin: PluginOut; onConfigure: () => void }) {
  const t = useT();
  const may = useCan("project:manage");
  const { today, state } = plugin;
  const shown = STATES[state] ?? STATES.failed!;
  const configurable = state !== "failed" && fieldsOf(plugin.config_schema).length > 0;
  return (
    <li className="agent">
      <div className="spread">
        <h3>{plugin.name}</h3>
        <Badge tone={shown.tone} icon={<shown.icon aria-hidden />}>
          {t(shown.label)}
        </Badge>
      </div>
      {plugin.description && <p className="small">{plugin.description}</p>}
      <p className="muted small">
        <code>{plugin.file}</code>
        {plugin.capabilities.length > 0 && ` · ${plugin.capabilities.join(", ")}`}
      </p>
      {plugin.error && <p className="small plugin-error">{plugin.error}</p>}
      {plugin.tried_again_at && (
        <p className="small">
          {t("plugins.tried_again")} <RelativeTime at={plugin.tried_again_at} />
        </p>
      )}
      {plugin.trace && (
        <details className="small">
          <summary>{t("plugins.trace")}</summary>
          <pre className="plugin-trace" tabIndex={0}>
            {plugin.trace}
          </pre>
        </details>
      )}
      {state !== "failed" && (
        <p className="small">
          <Link to="/tasks" search={{ agent: plugin.name }}>
            {t("plugins.runs")}
          </Link>{" "}
          <Num value={today.succeeded + today.rejected + today.failed + today.cancelled} />
          {today.failed > 0 && <span className="muted"> {t("plugins.of_them_failed", { count: today.failed })}</span>}
        </p>
      )}
      {may && state !== "failed" && (
        <div className="row">
          {configurable && (
            <Button size="small" aria-label={t("plugins.configure_name", { name: plugin.name })} onClick={onConfigure}>
              {t("plugins.configure")}
            </Button>
          )}
          <Enabling plugin={plugin} />
        </div>
      )}
    </li>
  );
}

/** Enables or disables the plugin in the active project only. */
function Enabling({ plugin }: { plugin: PluginOut }) {
  const t = useT();
  const client = useQueryClient();
  const me = useMe();
  const [busy, setBusy] = useState(false);
  const disabled = plugin.state === "disabled";
  async function toggle() {
    setBusy(true);
    try {
      const params = { path: { project_id: me?.project_id ?? "" } };
      const { settings } = await ok(api.GET("/api/projects/{project_id}", { params }));
      const others = (settings.disabled_plugins ?? []).filter((name) => name !== plugin.name);
      const body = { settings: { disabled_plugins: disabled ? others : [...others, plugin.name] } };
      await ok(api.PATCH("/api/projects/{project_id}", { params, body }));
      showToast(translate(disabled ? "plugins.enabled_now" : "plugins.disabled_now", { name: plugin.name }));
      await client.invalidateQueries({ queryKey: projectKey("plugins") });
    } catch (error) {
      showToast(toProblem(error).detail || translate("error.unreachable"), { tone: "bad" });
    } finally {
      setBusy(false);
    }
  }
  const name = plugin.name;
  return (
    <Button
      size="small"
      busy={busy}
      aria-label={t(disabled ? "plugins.enable_name" : "plugins.disable_name", { name })}
      onClick={() => void toggle()}
    >
      {t(disabled ? "plugins.enable" : "plugins.disable")}
    </Button>
  );
}

function ScanAgain() {
  const t = useT();
  const client = useQueryClient();
  const [busy, setBusy] = useState(false);
  async function scan() {
    setBusy(true);
    try {
      const { loaded, failed } = await ok(api.POST("/api/plugins/reload"));
      showToast(translate("plugins.scanned", { loaded, failed }));
      await client.invalidateQueries({ queryKey: projectKey("plugins") });
    } catch (error) {
      showToast(toProblem(error).detail || translate("error.unreachable"), { tone: "bad" });
    } finally {
      setBusy(false);
    }
  }
  return (
    <Button busy={busy} onClick={() => void scan()}>
      {t("plugins.scan")}
    </Button>
  );
}
