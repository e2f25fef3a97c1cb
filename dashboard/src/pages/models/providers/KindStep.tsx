import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { Cloud, Server } from "lucide-react";
import type { KindOut, LocalServerOut, LocalServersOut } from "../../../api/types";
import { Badge } from "../../../components/Badge";
import { Button } from "../../../components/Button";
import { ErrorState } from "../../../components/ErrorState";
import { Loaded } from "../../../components/Loaded";
import { useT } from "../../../i18n/i18n";
import { kindsQuery, localServersQuery, type ProviderScope } from "./providerApi";

export interface KindStepProps {
  scope: ProviderScope;
  onChoose: (kind: KindOut) => void;
  /** Uses a local server as it is. */
  onUse: (kind: KindOut, server: LocalServerOut) => void;
}

export function KindStep({ scope, onChoose, onUse }: KindStepProps) {
  const kinds = useQuery(kindsQuery());
  return (
    <Loaded query={kinds}>
      {(items) => (
        <div className="stack">
          {scope === "shared" && (
            <LocalServers
              onUse={(server) => {
                const kind = items.find((one) => one.kind === server.kind);
                if (kind) onUse(kind, server);
              }}
            />
          )}
          <Kinds kinds={items} onChoose={onChoose} />
        </div>
      )}
    </Loaded>
  );
}

function Kinds({ kinds, onChoose }: { kinds: KindOut[]; onChoose: (kind: KindOut) => void }) {
  const t = useT();
  return (
    <ul className="kind-cards" aria-label={t("providers.kinds")}>
      {kinds.map((kind) => (
        <li key={kind.kind}>
          <button type="button" className="kind-card" onClick={() => onChoose(kind)}>
            {kind.local ? <Server aria-hidden /> : <Cloud aria-hidden />}
            <span className="kind-title">{t(`providers.kind_${kind.kind}`)}</span>
            <span className="muted small">{t(detailOf(kind))}</span>
          </button>
        </li>
      ))}
    </ul>
  );
}

function detailOf(kind: KindOut) {
  if (kind.local) return "providers.detail_local";
  return kind.needs_key ? "providers.detail_cloud" : "providers.detail_any";
}

function LocalServers({ onUse }: { onUse: (server: LocalServerOut) => void }) {
  const t = useT();
  const query = useQuery(localServersQuery());
  return (
    <section className="local-servers" aria-labelledby="local-servers-title" aria-busy={query.isPending}>
      <div className="spread">
        <h3 id="local-servers-title">{t("providers.local_servers")}</h3>
        <Button size="small" busy={query.isFetching} onClick={() => void query.refetch()}>
          {t("providers.search_again")}
        </Button>
      </div>
      {query.isPending && <p className="muted">{t("providers.searching")}</p>}
      {query.error && <ErrorState problem={query.error} compact />}
      {query.data && <Found found={query.data} onUse={onUse} />}
    </section>
  );
}

function Found({ found, onUse }: { found: LocalServersOut; onUse: (server: LocalServerOut) => void }) {
  const t = useT();
  const usable = found.servers.filter((server) => server.models > 0 || server.needs_key || server.problem === null);
  const odd = found.servers.filter((server) => !usable.includes(server));
  return (
    <>
      {usable.length > 0 && (
        <ul className="local-list">
          {usable.map((server) => (
            <li key={server.address} className="local-row">
              <LocalServer server={server} onUse={onUse} />
            </li>
          ))}
        </ul>
      )}
      {odd.map((server) => (
        <p key={server.address} className="muted small break">
          {t("providers.odd_server", { address: server.address, problem: server.problem ?? "" })}
        </p>
      ))}
      {found.causes.length > 0 && <Causes found={found} />}
    </>
  );
}

function LocalServer({ server, onUse }: { server: LocalServerOut; onUse: (server: LocalServerOut) => void }) {
  const t = useT();
  const added = server.provider_id !== null || server.from_file;
  return (
    <>
      <div className="local-text">
        <strong>{t(`providers.kind_${server.kind}`)}</strong>{" "}
        <code className="break">{server.address}</code>
        <span className="muted small">
          {server.needs_key ? t("providers.wants_key") : t("providers.model_count", { count: server.models })}
        </span>
        {server.from_file && <Badge>{t("providers.in_file")}</Badge>}
      </div>
      {server.provider_id !== null ? (
        <Link to="/models/providers/$providerId" params={{ providerId: server.provider_id }} className="button button-small">
          {t("providers.already_added")}
        </Link>
      ) : (
        <Button
          size="small"
          kind={added ? "plain" : "primary"}
          onClick={() => onUse(server)}
          aria-label={t("providers.use_server", { address: server.address })}
        >
          {t("providers.use")}
        </Button>
      )}
    </>
  );
}

function Causes({ found }: { found: LocalServersOut }) {
  const t = useT();
  return (
    <div className="small">
      <p>{t("providers.none_found", { hosts: found.hosts.map((host) => host.name).join(", ") })}</p>
      <details>
        <summary>{t("providers.usual_causes")}</summary>
        <ul className="cause-list">
          {found.causes.map((cause) => (
            <li key={cause}>{t(`providers.cause_${cause}`)}</li>
          ))}
        </ul>
      </details>
    </div>
  );
}
