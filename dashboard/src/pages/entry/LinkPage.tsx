import { useRouter } from "@tanstack/react-router";
import { useState } from "react";
import { redeemLink } from "../../auth/actions";
import { Button } from "../../components/Button";
import { EmptyState } from "../../components/EmptyState";
import { ErrorState } from "../../components/ErrorState";
import { Field, Input } from "../../components/Field";
import { useT } from "../../i18n/i18n";
import { EntryFrame } from "./EntryFrame";
import { fragment } from "./fragment";
import { useSubmit } from "./useSubmit";

export function SetupPage() {
  const t = useT();
  return <LinkPage title={t("entry.setup")} detail={t("entry.setup_detail")} />;
}

export function ResetPage() {
  const t = useT();
  return <LinkPage title={t("entry.reset")} detail={t("entry.reset_detail")} />;
}

function LinkPage({ title, detail }: { title: string; detail: string }) {
  const t = useT();
  const router = useRouter();
  const [token] = useState(fragment);
  const [password, setPassword] = useState("");
  const { busy, problem, submit } = useSubmit(async () => {
    await redeemLink(token, password);
    router.history.replace("/");
  });
  const short = password.length > 0 && password.length < 10;
  return (
    <EntryFrame title={title}>
      {token ? (
        <form className="stack" onSubmit={submit}>
          <p className="muted">{detail}</p>
          <Field label={t("entry.new_password")} hint={t("entry.password_hint")} error={short && t("entry.password_short")}>
            <Input
              type="password"
              autoComplete="new-password"
              required
              minLength={10}
              autoFocus
              value={password}
              onChange={(event) => setPassword(event.target.value)}
            />
          </Field>
          {problem && <ErrorState problem={problem} compact />}
          <Button type="submit" kind="primary" busy={busy}>
            {t("entry.set_password")}
          </Button>
        </form>
      ) : (
        <EmptyState title={t("entry.no_token")}>{t("entry.no_token_detail")}</EmptyState>
      )}
    </EntryFrame>
  );
}
