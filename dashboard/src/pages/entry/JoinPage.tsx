import { useQuery } from "@tanstack/react-query";
import { useRouter } from "@tanstack/react-router";
import { useState } from "react";
import { api, ok } from "../../api/client";
import { register, switchProject } from "../../auth/actions";
import { session } from "../../auth/session";
import { Button } from "../../components/Button";
import { EmptyState } from "../../components/EmptyState";
import { ErrorState } from "../../components/ErrorState";
import { Field, Input } from "../../components/Field";
import { SkeletonRows } from "../../components/Skeleton";
import { formatDateTime } from "../../i18n/format";
import { useT } from "../../i18n/i18n";
import { useStore } from "../../lib/store";
import { EntryFrame } from "./EntryFrame";
import { fragment } from "./fragment";
import { SignInForm } from "./SignInForm";
import { useSubmit } from "./useSubmit";

export function JoinPage() {
  const t = useT();
  const [token] = useState(fragment);
  const signedIn = useStore(session).status === "in";
  const [account, setAccount] = useState(false);
  const { data, error, isPending } = useQuery({
    queryKey: ["open", "invitation", token],
    queryFn: async () => {
      // Signed-in users join; others create an account.
      await session.start();
      return ok(api.POST("/api/auth/invitation", { body: { token } }));
    },
    enabled: token !== "",
  });
  const title = data ? t("entry.join", { project: data.project_name }) : "Kairos";
  return (
    <EntryFrame title={title}>
      {!token && <EmptyState title={t("entry.no_token")}>{t("entry.no_token_detail")}</EmptyState>}
      {error && <ErrorState problem={error} />}
      {token && isPending && <SkeletonRows rows={4} />}
      {data && (
        <>
          <p>
            {t("entry.join_detail", { by: data.invited_by, role: t(`role.${data.role}`) })}{" "}
            <span className="muted">{t("entry.join_expires", { when: formatDateTime(data.expires_at) })}</span>
          </p>
          {signedIn && <Accept token={token} />}
          {!signedIn && account && <SignInForm onDone={() => undefined} />}
          {!signedIn && !account && (
            <>
              <Register token={token} email={data.email} />
              <Button kind="quiet" onClick={() => setAccount(true)}>
                {t("entry.have_account")}
              </Button>
            </>
          )}
        </>
      )}
    </EntryFrame>
  );
}

function Accept({ token }: { token: string }) {
  const t = useT();
  const router = useRouter();
  const me = useQuery({ queryKey: ["open", "me"], queryFn: () => ok(api.GET("/api/auth/me")) }).data;
  const { busy, problem, submit } = useSubmit(async () => {
    const joined = await ok(api.POST("/api/auth/accept", { body: { token } }));
    await switchProject(joined.project_id);
    router.history.replace("/");
  });
  return (
    <form className="stack" onSubmit={submit}>
      {me && <p>{t("entry.join_as", { email: me.email })}</p>}
      {problem && <ErrorState problem={problem} compact />}
      <Button type="submit" kind="primary" busy={busy}>
        {t("entry.accept")}
      </Button>
    </form>
  );
}

function Register({ token, email: invited }: { token: string; email: string | null }) {
  const t = useT();
  const router = useRouter();
  const [email, setEmail] = useState(invited ?? "");
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const { busy, problem, submit } = useSubmit(async () => {
    await register(token, email, name.trim(), password);
    router.history.replace("/");
  });
  return (
    <form className="stack" onSubmit={submit}>
      <Field label={t("entry.email")}>
        <Input
          type="email"
          autoComplete="username"
          required
          readOnly={invited !== null}
          value={email}
          onChange={(event) => setEmail(event.target.value)}
        />
      </Field>
      <Field label={t("entry.your_name")}>
        <Input autoComplete="name" required maxLength={100} value={name} onChange={(event) => setName(event.target.value)} />
      </Field>
      <Field label={t("entry.password")} hint={t("entry.password_hint")}>
        <Input
          type="password"
          autoComplete="new-password"
          required
          minLength={10}
          value={password}
          onChange={(event) => setPassword(event.target.value)}
        />
      </Field>
      {problem && <ErrorState problem={problem} compact />}
      <Button type="submit" kind="primary" busy={busy}>
        {t("entry.register")}
      </Button>
    </form>
  );
}
