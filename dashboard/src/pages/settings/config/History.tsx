import { useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, ok } from "../../../api/client";
import type { ConfigScope, VersionOut } from "../../../api/types";
import { useCan, useMe } from "../../../api/queries";
import { Button } from "../../../components/Button";
import { ConfirmDialog } from "../../../components/ConfirmDialog";
import { EmptyState } from "../../../components/EmptyState";
import { ErrorState } from "../../../components/ErrorState";
import { Section } from "../../../components/Section";
import { SkeletonRows } from "../../../components/Skeleton";
import { RelativeTime } from "../../../components/Values";
import { useT } from "../../../i18n/i18n";
import { configChanged, configQuery, historyQuery } from "./queries";
import { formatValue } from "./values";

export function History({ scope }: { scope: ConfigScope }) {
  const t = useT();
  const query = useInfiniteQuery(historyQuery(scope));
  const [confirming, setConfirming] = useState<VersionOut | null>(null);
  const operator = useMe()?.operator ?? false;
  const manages = useCan("project:manage");
  const may = scope === "system" ? operator : manages;
  const versions = query.data?.pages.flatMap(({ items }) => items) ?? [];
  return (
    <Section title={t(`config.history_${scope}`)}>
      {query.error && <ErrorState problem={query.error} onRetry={() => void query.refetch()} />}
      {query.isPending && <SkeletonRows rows={3} />}
      {query.isSuccess && versions.length === 0 && <EmptyState title={t("config.no_history")} />}
      <ul className="config-list">
        {versions.map((version, index) => (
          <li key={version.version} className="config-row">
            <div className="config-key">
              <span>
                <b>{version.version}</b> · <RelativeTime at={version.at} /> · {version.by ?? t("config.somebody")}
              </span>
              {version.why && <span className="muted small">{version.why}</span>}
            </div>
            <Changes changes={version.changes} />
            <div className="config-act">
              {may && index > 0 && (
                <Button
                  size="small"
                  aria-label={t("config.revert_to", { version: version.version })}
                  onClick={() => setConfirming(version)}
                >
                  {t("config.revert")}
                </Button>
              )}
            </div>
          </li>
        ))}
      </ul>
      {query.hasNextPage && (
        <Button busy={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
          {t("config.older")}
        </Button>
      )}
      {confirming && <Revert scope={scope} to={confirming.version} onClose={() => setConfirming(null)} />}
    </Section>
  );
}

function Changes({ changes }: { changes: VersionOut["changes"] }) {
  const t = useT();
  const shown = (value: unknown) => formatValue(value) || t("config.none");
  return (
    <ul className="config-value config-changes">
      {Object.entries(changes).map(([key, { before, after }]) => (
        <li key={key}>
          <code>{key}</code>: {shown(before)} → <b>{shown(after)}</b>
        </li>
      ))}
    </ul>
  );
}

function Revert({ scope, to, onClose }: { scope: ConfigScope; to: number; onClose: () => void }) {
  const t = useT();
  const client = useQueryClient();
  const { data } = useQuery(configQuery());
  return (
    <ConfirmDialog
      open
      kind="primary"
      onClose={onClose}
      title={t("config.revert_to", { version: to })}
      action={t("config.revert")}
      onConfirm={async () => {
        if (!data) return;
        const version = scope === "system" ? data.version : data.project_version;
        await ok(api.POST("/api/config/revert", { body: { whose: scope, to, version } }));
        configChanged(client);
      }}
    >
      <p>{t("config.revert_detail")}</p>
    </ConfirmDialog>
  );
}
