import { queryOptions, useQuery, useQueryClient } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { api, ok } from "../../api/client";
import type { ResetLink, UserOut } from "../../api/types";
import { projectKey, useMe } from "../../api/queries";
import { Badge } from "../../components/Badge";
import { Button } from "../../components/Button";
import { ConfirmDialog } from "../../components/ConfirmDialog";
import { EmptyState } from "../../components/EmptyState";
import { ErrorState } from "../../components/ErrorState";
import { PageHeader } from "../../components/PageHeader";
import { SecretDialog } from "../../components/SecretDialog";
import { Switch } from "../../components/Switch";
import { Table, type Columns } from "../../components/Table";
import { Num, RelativeTime } from "../../components/Values";
import { formatDateTime } from "../../i18n/format";
import { useT, type MessageKey } from "../../i18n/i18n";
import "../settings/settings.css";

const usersQuery = () =>
  queryOptions({
    queryKey: projectKey("users"),
    queryFn: async ({ signal }) => (await ok(api.GET("/api/users", { signal }))).items,
  });

type UserAction = "operator" | "no_operator" | "disable" | "enable" | "reset";
const BODIES = { operator: { operator: true }, no_operator: { operator: false }, disable: { disabled: true }, enable: { disabled: false } };
type Link = ResetLink & { email: string };

export function UsersPage() {
  const t = useT();
  const me = useMe();
  if (me && !me.operator) return <EmptyState title={t("users.operators_only")}>{t("users.operators_only_detail")}</EmptyState>;
  return (
    <>
      <PageHeader title={t("users.title")} detail={t("users.detail")} />
      {me && <Users />}
    </>
  );
}

function Users() {
  const t = useT();
  const me = useMe();
  const client = useQueryClient();
  const { data = [], error, isPending, refetch } = useQuery(usersQuery());
  const [confirming, setConfirming] = useState<{ act: UserAction; user: UserOut } | null>(null);
  const [link, setLink] = useState<Link | null>(null);

  async function act() {
    if (!confirming) return;
    const { user } = confirming;
    const params = { path: { user_id: user.id } };
    if (confirming.act === "reset") {
      setLink({ ...(await ok(api.POST("/api/users/{user_id}/reset-link", { params }))), email: user.email });
      return;
    }
    await ok(api.PATCH("/api/users/{user_id}", { params, body: BODIES[confirming.act] }));
    await client.invalidateQueries({ queryKey: projectKey("users") });
    if (user.id === me?.user_id) await client.invalidateQueries({ queryKey: projectKey("me") });
  }

  const columns = useMemo<Columns<UserOut>>(
    () => [
      {
        id: "name",
        accessorKey: "name",
        header: t("settings.person"),
        cell: ({ row: { original: user } }) => (
          <div className="two-lines">
            <span title={user.name}>
              {user.name} {user.id === me?.user_id && <Badge>{t("settings.you")}</Badge>}
            </span>
            <span className="muted small" title={user.email}>
              {user.email}
            </span>
          </div>
        ),
      },
      {
        id: "projects",
        accessorKey: "projects",
        header: t("users.projects"),
        meta: { width: "90px", align: "end", wide: true },
        cell: ({ row }) => <Num value={row.original.projects} />,
      },
      {
        id: "created",
        accessorKey: "created_at",
        header: t("settings.created"),
        meta: { width: "130px", wide: true },
        cell: ({ row }) => <RelativeTime at={row.original.created_at} />,
      },
      {
        id: "operator",
        accessorKey: "operator",
        header: t("users.operator"),
        meta: { width: "84px" },
        cell: ({ row: { original: user } }) => (
          <Switch
            label={t("users.operator_of", { name: user.name })}
            checked={user.operator}
            onChange={(on) => setConfirming({ act: on ? "operator" : "no_operator", user })}
          />
        ),
      },
      {
        id: "disabled",
        accessorKey: "disabled",
        header: t("users.disabled"),
        meta: { width: "84px" },
        cell: ({ row: { original: user } }) => (
          <Switch
            label={t("users.disabled_of", { name: user.name })}
            checked={user.disabled}
            disabled={user.id === me?.user_id}
            reason={user.id === me?.user_id ? t("users.not_yourself") : undefined}
            onChange={(on) => setConfirming({ act: on ? "disable" : "enable", user })}
          />
        ),
      },
      {
        id: "reset",
        enableSorting: false,
        header: () => <span className="visually-hidden">{t("common.actions")}</span>,
        meta: { width: "88px", align: "end" },
        cell: ({ row: { original: user } }) => (
          <Button size="small" aria-label={t("users.reset_of", { name: user.name })} onClick={() => setConfirming({ act: "reset", user })}>
            {t("users.reset")}
          </Button>
        ),
      },
    ],
    [t, me?.user_id],
  );

  return (
    <>
      {error ? (
        <ErrorState problem={error} onRetry={() => void refetch()} />
      ) : (
        <Table label={t("users.title")} rows={data} columns={columns} rowId={(user) => user.id} rowHeight={52} loading={isPending} sortable />
      )}
      <ConfirmDialog
        open={confirming !== null}
        onClose={() => setConfirming(null)}
        title={confirming ? t(`users.${confirming.act}_title` as MessageKey, { name: confirming.user.name }) : ""}
        action={confirming ? t(`users.${confirming.act}_button` as MessageKey) : ""}
        onConfirm={act}
      >
        {confirming && t(`users.${confirming.act}_detail` as MessageKey)}
      </ConfirmDialog>
      {link && (
        <SecretDialog title={t("users.link_title")} label={t("settings.link")} secret={link.link} onClose={() => setLink(null)}>
          {t("users.link_detail", { who: link.email, when: formatDateTime(link.expires_at) })}
        </SecretDialog>
      )}
    </>
  );
}
