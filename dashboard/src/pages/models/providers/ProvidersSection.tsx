import { useQuery } from "@tanstack/react-query";
import { KeyRound, TriangleAlert } from "lucide-react";
import type { ProviderOut } from "../../../api/types";
import { Badge } from "../../../components/Badge";
import { EmptyState } from "../../../components/EmptyState";
import { Loaded } from "../../../components/Loaded";
import { Section } from "../../../components/Section";
import { RelativeTime } from "../../../components/Values";
import { useT } from "../../../i18n/i18n";
import { ProviderLink } from "./ProviderLink";
import { providersQuery, useScopes, type ProviderScope } from "./providerApi";
import "./providers.css";

/** The stored providers, for those who may change them. */
export function ProvidersSection() {
  const t = useT();
  const scopes = useScopes() ?? [];
  if (scopes.length === 0) return null;
  return (
    <Section title={t("providers.title")} detail={t("providers.detail")}>
      {scopes.map((scope) => (
        <Providers key={scope} scope={scope} titled={scopes.length > 1} />
      ))}
    </Section>
  );
}

function Providers({ scope, titled }: { scope: ProviderScope; titled: boolean }) {
  const t = useT();
  const query = useQuery(providersQuery(scope));
  const title = t(`providers.scope_${scope}`);
  return (
    <div className="stack provider-group">
      {titled && <h3>{title}</h3>}
      <Loaded query={query}>
        {(items) =>
          items.length === 0 ? (
            <EmptyState title={t(`providers.none_${scope}`)}>{t(`providers.none_${scope}_detail`)}</EmptyState>
          ) : (
            <ul className="provider-models" aria-label={title}>
              {items.map((provider) => (
                <li key={provider.id} className="provider-model">
                  <Row scope={scope} provider={provider} />
                </li>
              ))}
            </ul>
          )
        }
      </Loaded>
    </div>
  );
}

function Row({ scope, provider }: { scope: ProviderScope; provider: ProviderOut }) {
  const t = useT();
  return (
    <>
      <div className="provider-model-text">
        <ProviderLink scope={scope} id={provider.id} className="break provider-name">
          {provider.name}
        </ProviderLink>
        <span className="muted small break">
          {t(`providers.kind_${provider.kind}`)} · {provider.address} · {t("providers.model_count", { count: provider.models.length })}
        </span>
        {provider.problem !== null && (
          <span className="small break">
            <Badge tone="bad" icon={<TriangleAlert aria-hidden />}>
              {t("providers.unusable")}
            </Badge>{" "}
            {provider.problem}
          </span>
        )}
      </div>
      <span className="muted small row">
        {provider.key_set_at ? (
          <>
            <KeyRound aria-hidden size={14} /> {t("providers.key_set")} <RelativeTime at={provider.key_set_at} />
          </>
        ) : (
          t("providers.no_key")
        )}
      </span>
    </>
  );
}
