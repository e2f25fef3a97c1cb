import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { api, ok } from "../../api/client";
import type { KeyOut, NewKey } from "../../api/types";
import { projectKey } from "../../api/queries";
import { Button } from "../../components/Button";
import { ConfirmDialog } from "../../components/ConfirmDialog";
import { EmptyState } from "../../components/EmptyState";
import { ErrorState } from "../../components/ErrorState";
import { SecretDialog } from "../../components/SecretDialog";
import { Section } from "../../components/Section";
import { Table, type Columns } from "../../components/Table";
import { RelativeTime } from "../../components/Values";
import { useT } from "../../i18n/i18n";
import { NewKeyDialog } from "./NewKeyDialog";
import { keysQuery } from "./queries";
import "./settings.css";

export function KeysSection() {
  const t = useT();
  const client = useQueryClient();
  const { data = [], error, isPending, refetch } = useQuery(keysQuery());
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState<NewKey | null>(null);
  const [confirming, setConfirming] = useState<KeyOut | null>(null);
  const again = () => client.invalidateQueries({ queryKey: projectKey("keys") });

  const columns = useMemo<Columns<KeyOut>>(
    () => [
      {
        id: "name",
        header: t("common.name"),
        cell: ({ row: { original: key } }) => (
          <div className="two-lines">
            <span title={key.name}>
              {key.name} <code className="muted">{key.prefix}…</code>
            </span>
            <span className="muted small" title={key.created_by}>
              {t("settings.made_by", { name: key.created_by })}
            </span>
          </div>
        ),
      },
      {
        id: "scopes",
        header: t("settings.scopes"),
        meta: { wide: true },
        cell: ({ row }) => (
          <span className="scopes-shown" title={row.original.scopes.join("\n")}>
            {row.original.scopes.join(", ")}
          </span>
        ),
      },
      {
        id: "used",
        header: t("settings.last_used"),
        meta: { width: "118px" },
        cell: ({ row: { original: key } }) =>
          key.last_used_at ? <RelativeTime at={key.last_used_at} /> : <span className="muted">{t("settings.never")}</span>,
      },
      {
        id: "expires",
        header: t("settings.expires"),
        meta: { width: "136px", wide: true },
        cell: ({ row: { original: key } }) =>
          key.expires_at ? <RelativeTime at={key.expires_at} /> : <span className="muted">{t("settings.never_expires")}</span>,
      },
      {
        id: "act",
        header: () => <span className="visually-hidden">{t("common.actions")}</span>,
        meta: { width: "112px", align: "end" },
        cell: ({ row: { original: key } }) => (
          <Button size="small" aria-label={t("settings.revoke_name", { name: key.name })} onClick={() => setConfirming(key)}>
            {t("settings.revoke")}
          </Button>
        ),
      },
    ],
    [t],
  );
  const create = (
    <Button kind="primary" onClick={() => setMaking(true)}>
      {t("settings.create_key")}
    </Button>
  );

  return (
    <Section title={t("settings.keys")} detail={t("settings.keys_detail")} actions={data.length > 0 && create}>
      {error && <ErrorState problem={error} onRetry={() => void refetch()} />}
      {!error && (
        <Table
          label={t("settings.keys")}
          rows={data}
          columns={columns}
          rowId={(row) => row.id}
          rowHeight={52}
          loading={isPending}
          empty={
            <EmptyState title={t("settings.no_keys")} action={create}>
              {t("settings.no_keys_detail")}
            </EmptyState>
          }
        />
      )}
      {making && (
        <NewKeyDialog
          onClose={() => setMaking(false)}
          onMade={(key) => {
            setMaking(false);
            setMade(key);
            void again();
          }}
        />
      )}
      {made && (
        <SecretDialog title={t("settings.key_title", { name: made.name })} label={t("settings.key")} secret={made.key} onClose={() => setMade(null)}>
          {t("settings.key_detail")}
        </SecretDialog>
      )}
      <ConfirmDialog
        open={confirming !== null}
        onClose={() => setConfirming(null)}
        title={t("settings.revoke_key_title", { name: confirming?.name ?? "" })}
        action={t("settings.revoke")}
        onConfirm={async () => {
          await ok(api.DELETE("/api/keys/{key_id}", { params: { path: { key_id: confirming?.id ?? "" } } }));
          await again();
        }}
      >
        {t("settings.revoke_key_detail")}
      </ConfirmDialog>
    </Section>
  );
}
