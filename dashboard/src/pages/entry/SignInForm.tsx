import { useState } from "react";
import { signIn } from "../../auth/actions";
import { Button } from "../../components/Button";
import { ErrorState } from "../../components/ErrorState";
import { Field, Input } from "../../components/Field";
import { useT } from "../../i18n/i18n";
import { useSubmit } from "./useSubmit";

export function SignInForm({ onDone }: { onDone: () => void }) {
  const t = useT();
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const { busy, problem, submit } = useSubmit(async () => {
    await signIn(email, password);
    onDone();
  });
  return (
    <form className="stack" onSubmit={submit}>
      <Field label={t("entry.email")}>
        <Input
          name="email"
          inputMode="email"
          autoComplete="username"
          required
          autoFocus
          value={email}
          onChange={(event) => setEmail(event.target.value)}
        />
      </Field>
      <Field label={t("entry.password")}>
        <Input
          name="password"
          type="password"
          autoComplete="current-password"
          required
          value={password}
          onChange={(event) => setPassword(event.target.value)}
        />
      </Field>
      {problem && <ErrorState problem={problem} compact />}
      <Button type="submit" kind="primary" busy={busy}>
        {t("entry.sign_in")}
      </Button>
      <p className="muted small">{t("entry.forgotten")}</p>
    </form>
  );
}
