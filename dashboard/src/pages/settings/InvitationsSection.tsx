import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { api, ok } from "../../api/client";
import type { InvitationOut, NewInvitation, Role } from "../../api/types";
import { projectKey, useMe } from "../../api/queries";
import { Button } from "../../components/Button";
import { ConfirmDialog } from "../../components/ConfirmDialog";
import { Dialog, DialogActions } from "../../components/Dialog";
import { EmptyState } from "../../components/EmptyState";
import { ErrorState } from "../../components/ErrorState";
import { Field, Input, Select } from "../../components/Field";
import { SecretDialog } from "../../components/SecretDialog";
import { Section } from "../../components/Section";
import { Table, type Columns } from "../../components/Table";
import { RelativeTime } from "../../components/Values";
import { formatDateTime } from "../../i18n/format";
import { useT } from "../../i18n/i18n";
import { useSubmit } from "../entry/useSubmit";
import { invitationsQuery } from "./queries";
import { rolesUpTo } from "./roles";
import "./settings.css";

export function InvitationsSection() {
  const t = useT();
  const client = useQueryClient();
  const { data = [], error, isPending, refetch } = useQuery(invitationsQuery());
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState<NewInvitation | null>(null);
  const [confirming, setConfirming] = useState<InvitationOut | null>(null);
  const again = () => client.invalidateQueries({ queryKey: projectKey("invitations") });

  const columns = useMemo<Columns<InvitationOut>>(
    () => [
      {
        id: "email",
        header: t("settings.for"),
        cell: ({ row: { original: one } }) => (
          <div className="two-lines">
            <span>{one.email ?? t("settings.anyone")}</span>
            <span className="muted small">{t("settings.invited_by", { name: one.invited_by })}</span>
          </div>
        ),
      },
      { id: "role", header: t("settings.role"), meta: { width: "96px" }, cell: ({ row }) => t(`role.${row.original.role}`) },
      {
        id: "created",
        header: t("settings.created"),
        meta: { width: "130px", wide: true },
        cell: ({ row }) => <RelativeTime at={row.original.created_at} />,
      },
      {
        id: "expires",
        header: t("settings.expires"),
        meta: { width: "130px", wide: true },
        cell: ({ row }) => <RelativeTime at={row.original.expires_at} />,
      },
      {
        id: "act",
        header: () => <span className="visually-hidden">{t("common.actions")}</span>,
        meta: { width: "112px", align: "end" },
        cell: ({ row }) => (
          <Button size="small" onClick={() => setConfirming(row.original)}>
            {t("settings.revoke")}
          </Button>
        ),
      },
    ],
    [t],
  );
  const invite = (
    <Button kind="primary" onClick={() => setMaking(true)}>
      {t("settings.invite")}
    </Button>
  );

  return (
    <Section title={t("settings.invitations")} detail={t("settings.invitations_detail")} actions={data.length > 0 && invite}>
      {error && <ErrorState problem={error} onRetry={() => void refetch()} />}
      {!error && (
        <Table
          label={t("settings.invitations")}
          rows={data}
          columns={columns}
          rowId={(row) => row.id}
          rowHeight={52}
          loading={isPending}
          empty={
            <EmptyState title={t("settings.no_invitations")} action={invite}>
              {t("settings.no_invitations_detail")}
            </EmptyState>
          }
        />
      )}
      {making && (
        <InviteDialog
          onClose={() => setMaking(false)}
          onMade={(invitation) => {
            setMaking(false);
            setMade(invitation);
            void again();
          }}
        />
      )}
      {made && (
        <SecretDialog title={t("settings.link_title")} label={t("settings.link")} secret={made.link} onClose={() => setMade(null)}>
          {t("settings.link_detail", {
            who: made.email ?? t("settings.anyone"),
            role: t(`role.${made.role}`),
            when: formatDateTime(made.expires_at),
          })}
        </SecretDialog>
      )}
      <ConfirmDialog
        open={confirming !== null}
        onClose={() => setConfirming(null)}
        title={t("settings.revoke_invitation")}
        action={t("settings.revoke")}
        onConfirm={async () => {
          const params = { path: { invitation_id: confirming?.id ?? "" } };
          await ok(api.DELETE("/api/invitations/{invitation_id}", { params }));
          await again();
        }}
      >
        {t("settings.revoke_invitation_detail")}
      </ConfirmDialog>
    </Section>
  );
}

function InviteDialog({ onClose, onMade }: { onClose: () => void; onMade: (invitation: NewInvitation) => void }) {
  const t = useT();
  const me = useMe();
  const [role, setRole] = useState<Role>("member");
  const [email, setEmail] = useState("");
  const [days, setDays] = useState("7");
  const { busy, problem, submit } = useSubmit(async () => {
    const body = { role, email: email.trim() || null, days: Number(days) };
    onMade(await ok(api.POST("/api/invitations", { body })));
  });
  return (
    <Dialog open onClose={onClose} title={t("settings.invite")}>
      <form className="stack" onSubmit={submit}>
        <Field label={t("settings.role")} hint={t(`settings.role_${role}`)}>
          <Select value={role} onChange={(event) => setRole(event.target.value as Role)}>
            {rolesUpTo(me?.role).map((one) => (
              <option key={one} value={one}>
                {t(`role.${one}`)}
              </option>
            ))}
          </Select>
        </Field>
        <Field label={t("entry.email")} hint={t("settings.email_hint")} optional>
          <Input type="email" autoComplete="off" maxLength={320} value={email} onChange={(event) => setEmail(event.target.value)} />
        </Field>
        <Field label={t("settings.days")}>
          <Input type="number" required min={1} max={90} value={days} onChange={(event) => setDays(event.target.value)} />
        </Field>
        {problem && <ErrorState problem={problem} compact />}
        <DialogActions>
          <Button onClick={onClose}>{t("common.cancel")}</Button>
          <Button type="submit" kind="primary" busy={busy}>
            {t("settings.make_link")}
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}
