import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { api, ok } from "../../api/client";
import type { SessionOut } from "../../api/types";
import { projectKey } from "../../api/queries";
import { signOut } from "../../auth/actions";
import { Badge } from "../../components/Badge";
import { Button } from "../../components/Button";
import { ConfirmDialog } from "../../components/ConfirmDialog";
import { ErrorState } from "../../components/ErrorState";
import { Section } from "../../components/Section";
import { Table, type Columns } from "../../components/Table";
import { RelativeTime } from "../../components/Values";
import { useT } from "../../i18n/i18n";
import { clientName } from "./clientName";
import { sessionsQuery } from "./queries";

export function Sessions() {
  const t = useT();
  const client = useQueryClient();
  const { data = [], error, isPending, refetch } = useQuery(sessionsQuery());
  const [confirming, setConfirming] = useState<SessionOut | "everywhere" | null>(null);

  const columns = useMemo<Columns<SessionOut>>(
    () => [
      {
        id: "client",
        header: t("settings.client"),
        cell: ({ row: { original: one } }) => (
          <span title={one.client}>
            {clientName(one.client) || t("common.unknown")} {one.current && <Badge tone="good">{t("settings.current")}</Badge>}
          </span>
        ),
      },
      {
        id: "used",
        header: t("settings.last_used"),
        meta: { width: "118px" },
        cell: ({ row }) => <RelativeTime at={row.original.last_used_at} />,
      },
      {
        id: "created",
        header: t("settings.signed_in"),
        meta: { width: "118px", wide: true },
        cell: ({ row }) => <RelativeTime at={row.original.created_at} />,
      },
      {
        id: "expires",
        header: t("settings.expires"),
        meta: { width: "118px", wide: true },
        cell: ({ row }) => <RelativeTime at={row.original.expires_at} />,
      },
      {
        id: "act",
        header: () => <span className="visually-hidden">{t("common.actions")}</span>,
        meta: { width: "112px", align: "end" },
        cell: ({ row: { original: one } }) => (
          <Button size="small" onClick={() => setConfirming(one)}>
            {t(one.current ? "shell.sign_out" : "settings.end")}
          </Button>
        ),
      },
    ],
    [t],
  );

  async function end() {
    if (confirming === "everywhere") await signOut(true);
    else if (confirming?.current) await signOut();
    else if (confirming) {
      await ok(api.DELETE("/api/auth/sessions/{session_id}", { params: { path: { session_id: confirming.id } } }));
      await client.invalidateQueries({ queryKey: projectKey("sessions") });
    }
  }
  const current = confirming !== "everywhere" && confirming?.current;

  return (
    <Section
      title={t("shell.sessions")}
      detail={t("settings.sessions_detail")}
      actions={<Button onClick={() => setConfirming("everywhere")}>{t("settings.everywhere")}</Button>}
    >
      {error && <ErrorState problem={error} onRetry={() => void refetch()} />}
      {!error && (
        <Table label={t("shell.sessions")} rows={data} columns={columns} rowId={(row) => row.id} rowHeight={40} loading={isPending} />
      )}
      <ConfirmDialog
        open={confirming !== null}
        onClose={() => setConfirming(null)}
        title={t(confirming === "everywhere" ? "settings.everywhere_title" : current ? "settings.sign_out_title" : "settings.end_title")}
        action={t(confirming === "everywhere" || current ? "shell.sign_out" : "settings.end")}
        onConfirm={end}
      >
        {t(confirming === "everywhere" ? "settings.everywhere_detail" : current ? "settings.sign_out_detail" : "settings.end_detail")}
      </ConfirmDialog>
    </Section>
  );
}
