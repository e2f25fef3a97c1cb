import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { api, ok } from "../../api/client";
import type { MemberOut, Role } from "../../api/types";
import { toProblem } from "../../api/problem";
import { projectKey, useCan, useMe } from "../../api/queries";
import { leaveProject } from "../../auth/leave";
import { session } from "../../auth/session";
import { Badge } from "../../components/Badge";
import { Button } from "../../components/Button";
import { ConfirmDialog } from "../../components/ConfirmDialog";
import { ErrorState } from "../../components/ErrorState";
import { Select } from "../../components/Field";
import { Section } from "../../components/Section";
import { Table, type Columns } from "../../components/Table";
import { showToast } from "../../components/Toast";
import { RelativeTime } from "../../components/Values";
import { translate, useT } from "../../i18n/i18n";
import { membersQuery } from "./queries";
import { isAbove, rolesUpTo } from "./roles";
import "./settings.css";

type Confirmation = { kind: "remove" | "leave"; member: MemberOut } | { kind: "own-role"; member: MemberOut; role: Role };

export function MembersSection() {
  const t = useT();
  const client = useQueryClient();
  const { data = [], error, isPending, refetch } = useQuery(membersQuery());
  const [confirming, setConfirming] = useState<Confirmation | null>(null);
  const manage = useCan("members:manage");

  async function give(member: MemberOut, role: Role) {
    const key = projectKey("members");
    const set = (to: Role) =>
      client.setQueryData<MemberOut[]>(key, (rows) => rows?.map((row) => (row.user_id === member.user_id ? { ...row, role: to } : row)));
    set(role);
    try {
      await ok(api.PATCH("/api/members/{user_id}", { params: { path: { user_id: member.user_id } }, body: { role } }));
    } catch (thrown) {
      set(member.role);
      throw thrown;
    }
    if (member.you) await client.invalidateQueries({ queryKey: projectKey("me") });
  }

  function choose(member: MemberOut, role: Role) {
    if (member.you) return setConfirming({ kind: "own-role", member, role });
    give(member, role).catch((thrown: unknown) => {
      showToast(toProblem(thrown).detail || translate("error.unreachable"), { tone: "bad" });
    });
  }

  async function remove(member: MemberOut) {
    const project = session.projectId ?? "";
    await ok(api.DELETE("/api/members/{user_id}", { params: { path: { user_id: member.user_id } } }));
    if (member.you) await leaveProject(project);
    else await client.invalidateQueries({ queryKey: projectKey("members") });
  }

  const columns = useMemo<Columns<MemberOut>>(
    () => [
      {
        id: "name",
        accessorKey: "name",
        header: t("settings.person"),
        cell: ({ row: { original: member } }) => (
          <div className="two-lines">
            <span>
              {member.name} {member.you && <Badge>{t("settings.you")}</Badge>}
            </span>
            <span className="muted small">{member.email}</span>
          </div>
        ),
      },
      {
        id: "role",
        accessorKey: "role",
        header: t("settings.role"),
        meta: { width: "132px" },
        cell: ({ row }) => <RoleCell member={row.original} onChoose={choose} />,
      },
      {
        id: "since",
        accessorKey: "since",
        header: t("settings.since"),
        meta: { width: "140px", wide: true },
        cell: ({ row }) => <RelativeTime at={row.original.since} />,
      },
      {
        id: "act",
        enableSorting: false,
        header: () => <span className="visually-hidden">{t("common.actions")}</span>,
        meta: { width: "112px", align: "end" },
        cell: ({ row }) => <RemoveCell member={row.original} onAsk={setConfirming} />,
      },
    ],
    // `choose` is recreated at every render with the same behaviour.
    [t, manage],
  );

  return (
    <Section title={t("settings.members")} detail={t("settings.members_detail")}>
      {error && <ErrorState problem={error} onRetry={() => void refetch()} />}
      {!error && (
        <Table label={t("settings.members")} rows={data} columns={columns} rowId={(row) => row.user_id} rowHeight={52} loading={isPending} sortable />
      )}
      <ConfirmDialog
        open={confirming !== null}
        onClose={() => setConfirming(null)}
        title={confirming ? t(TITLES[confirming.kind], { name: confirming.member.name }) : ""}
        action={confirming ? t(ACTIONS[confirming.kind]) : ""}
        onConfirm={async () => {
          if (confirming?.kind === "own-role") await give(confirming.member, confirming.role);
          else if (confirming) await remove(confirming.member);
        }}
      >
        {confirming && t(DETAILS[confirming.kind], confirming.kind === "own-role" ? { role: t(`role.${confirming.role}`) } : {})}
      </ConfirmDialog>
    </Section>
  );
}

const TITLES = { remove: "settings.remove_title", leave: "settings.leave_title", "own-role": "settings.own_role_title" } as const;
const ACTIONS = { remove: "settings.remove", leave: "settings.leave", "own-role": "settings.own_role" } as const;
const DETAILS = { remove: "settings.remove_detail", leave: "settings.leave_detail", "own-role": "settings.own_role_detail" } as const;

function RoleCell({ member, onChoose }: { member: MemberOut; onChoose: (member: MemberOut, role: Role) => void }) {
  const t = useT();
  const me = useMe();
  const manage = useCan("members:manage");
  const above = isAbove(member.role, me?.role);
  if (!manage) return <>{t(`role.${member.role}`)}</>;
  if (above) return <span title={t("settings.above_you")}>{t(`role.${member.role}`)}</span>;
  return (
    <Select
      aria-label={t("settings.role_of", { name: member.name })}
      value={member.role}
      onChange={(event) => onChoose(member, event.target.value as Role)}
    >
      {rolesUpTo(me?.role).map((role) => (
        <option key={role} value={role}>
          {t(`role.${role}`)}
        </option>
      ))}
    </Select>
  );
}

function RemoveCell({ member, onAsk }: { member: MemberOut; onAsk: (confirming: Confirmation) => void }) {
  const t = useT();
  const me = useMe();
  const manage = useCan("members:manage");
  if (member.you) {
    return (
      <Button size="small" onClick={() => onAsk({ kind: "leave", member })}>
        {t("settings.leave")}
      </Button>
    );
  }
  if (!manage) return null;
  const above = isAbove(member.role, me?.role);
  return (
    <Button
      size="small"
      disabled={above}
      title={above ? t("settings.above_you") : undefined}
      aria-label={t("settings.remove_name", { name: member.name })}
      onClick={() => onAsk({ kind: "remove", member })}
    >
      {t("settings.remove")}
    </Button>
  );
}
