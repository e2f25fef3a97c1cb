import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { Trash2 } from "lucide-react";
import { useState } from "react";
import type { ProviderOut } from "../../../api/types";
import { toProblem } from "../../../api/problem";
import { Button } from "../../../components/Button";
import { ConfirmDialog } from "../../../components/ConfirmDialog";
import { EmptyState } from "../../../components/EmptyState";
import { ErrorState } from "../../../components/ErrorState";
import { PageHeader } from "../../../components/PageHeader";
import { SkeletonRows } from "../../../components/Skeleton";
import { showToast } from "../../../components/Toast";
import { translate, useT } from "../../../i18n/i18n";
import { ProviderForm } from "./ProviderForm";
import { ProviderModels } from "./ProviderModels";
import { providerQuery, removeProvider, useScopes, type ProviderScope } from "./providerApi";
import "./providers.css";

const route = getRouteApi("/app/models/providers/$providerId");

export function ProviderPage() {
  const t = useT();
  const { providerId } = route.useParams();
  const scope: ProviderScope = route.useSearch().own === "true" ? "project" : "shared";
  const scopes = useScopes();
  const may = scopes?.includes(scope) ?? false;
  const query = useQuery({ ...providerQuery(scope, providerId), enabled: may });
  if (query.data) return <Provider key={query.data.id} scope={scope} provider={query.data} />;
  return (
    <>
      <PageHeader title={t("providers.provider")} />
      {scopes && !may ? (
        <EmptyState title={t("providers.not_allowed")}>{t("providers.not_allowed_detail")}</EmptyState>
      ) : query.error ? (
        <Missing error={query.error} onRetry={() => void query.refetch()} />
      ) : (
        <SkeletonRows />
      )}
    </>
  );
}

function Missing({ error, onRetry }: { error: unknown; onRetry: () => void }) {
  const t = useT();
  const gone = toProblem(error).status === 404;
  return (
    <div className="stack">
      <ErrorState problem={error} {...(gone ? {} : { onRetry })} />
      {gone && <Link to="/models">{t("providers.to_models")}</Link>}
    </div>
  );
}

function Provider({ scope, provider }: { scope: ProviderScope; provider: ProviderOut }) {
  const t = useT();
  const [removing, setRemoving] = useState(false);
  const navigate = useNavigate();
  const detail = `${t(`providers.kind_${provider.kind}`)} · ${t(`providers.scope_${scope}`)}`;
  return (
    <>
      <PageHeader title={provider.name} detail={detail}>
        {provider.kind === "ollama" && (
          <Link
            to="/models/providers/$providerId/ollama"
            params={{ providerId: provider.id }}
            search={scope === "project" ? { own: "true" } : {}}
            className="button"
          >
            {t("ollama.title")}
          </Link>
        )}
        <Button kind="danger" icon={<Trash2 aria-hidden />} onClick={() => setRemoving(true)}>
          {t("providers.remove")}
        </Button>
      </PageHeader>
      <div className="sections">
        {provider.problem !== null && (
          <div role="alert" className="state state-error state-compact">
            <div className="state-text">
              <strong>{t("providers.unusable")}</strong>
              <p>{provider.problem}</p>
              <p>{t("providers.unusable_remedy")}</p>
            </div>
          </div>
        )}
        <ProviderModels scope={scope} provider={provider} />
        <ProviderForm scope={scope} provider={provider} />
      </div>
      <ConfirmDialog
        open={removing}
        onClose={() => setRemoving(false)}
        title={t("providers.remove_title", { name: provider.name })}
        action={t("providers.remove")}
        onConfirm={async () => {
          await removeProvider(scope, provider.id);
          showToast(translate("providers.removed", { name: provider.name }));
          await navigate({ to: "/models" });
        }}
      >
        <p>{t("providers.remove_detail", { count: provider.models.length })}</p>
        <p>{t("providers.remove_tasks")}</p>
      </ConfirmDialog>
    </>
  );
}
