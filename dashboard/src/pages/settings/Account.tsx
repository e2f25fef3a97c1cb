import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, ok } from "../../api/client";
import type { Me } from "../../api/types";
import { projectKey, useMe } from "../../api/queries";
import { Button } from "../../components/Button";
import { ErrorState } from "../../components/ErrorState";
import { Field, Input } from "../../components/Field";
import { Section } from "../../components/Section";
import { SkeletonRows } from "../../components/Skeleton";
import { showToast } from "../../components/Toast";
import { useT } from "../../i18n/i18n";
import { useSubmit } from "../entry/useSubmit";

export function Account() {
  const t = useT();
  const me = useMe();
  return <Section title={t("settings.account")}>{me ? <NameForm key={me.name} me={me} /> : <SkeletonRows rows={2} />}</Section>;
}

function NameForm({ me }: { me: Me }) {
  const t = useT();
  const client = useQueryClient();
  const [name, setName] = useState(me.name);
  const { busy, problem, submit } = useSubmit(async () => {
    await ok(api.PATCH("/api/auth/me", { body: { name: name.trim() } }));
    showToast(t("common.changed"));
    await Promise.all([
      client.invalidateQueries({ queryKey: projectKey("me") }),
      client.invalidateQueries({ queryKey: projectKey("members") }),
    ]);
  });
  return (
    <form className="stack settings-form" onSubmit={submit}>
      <Field label={t("entry.email")} hint={t("settings.email_fixed")}>
        <Input readOnly value={me.email} />
      </Field>
      <Field label={t("entry.your_name")}>
        <Input required maxLength={100} autoComplete="name" value={name} onChange={(event) => setName(event.target.value)} />
      </Field>
      {problem && <ErrorState problem={problem} compact />}
      <div className="row">
        <Button type="submit" kind="primary" busy={busy} disabled={!name.trim() || name.trim() === me.name}>
          {t("common.save")}
        </Button>
      </div>
    </form>
  );
}
