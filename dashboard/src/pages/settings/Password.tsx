import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, ok } from "../../api/client";
import { projectKey, useMe } from "../../api/queries";
import { Button } from "../../components/Button";
import { ErrorState } from "../../components/ErrorState";
import { Field, Input } from "../../components/Field";
import { Section } from "../../components/Section";
import { showToast } from "../../components/Toast";
import { useT } from "../../i18n/i18n";
import { useSubmit } from "../entry/useSubmit";

export function Password() {
  const t = useT();
  const me = useMe();
  const client = useQueryClient();
  const [current, setCurrent] = useState("");
  const [next, setNext] = useState("");
  const { busy, problem, submit } = useSubmit(async () => {
    await ok(api.POST("/api/auth/password", { body: { current, new: next } }));
    setCurrent("");
    setNext("");
    showToast(t("settings.password_changed"));
    await client.invalidateQueries({ queryKey: projectKey("sessions") });
  });
  const short = next.length > 0 && next.length < 10;
  return (
    <Section title={t("entry.password")} detail={t("settings.password_detail")}>
      <form className="stack settings-form" onSubmit={submit}>
        {/* Lets a password manager identify the account. */}
        <input className="visually-hidden" type="text" name="username" autoComplete="username" value={me?.email ?? ""} readOnly tabIndex={-1} aria-hidden />
        <Field label={t("settings.current_password")}>
          <Input
            type="password"
            autoComplete="current-password"
            required
            value={current}
            onChange={(event) => setCurrent(event.target.value)}
          />
        </Field>
        <Field label={t("entry.new_password")} hint={t("entry.password_hint")} error={short && t("entry.password_short")}>
          <Input
            type="password"
            autoComplete="new-password"
            required
            minLength={10}
            value={next}
            onChange={(event) => setNext(event.target.value)}
          />
        </Field>
        {problem && <ErrorState problem={problem} compact />}
        <div className="row">
          <Button type="submit" busy={busy} disabled={!current || next.length < 10}>
            {t("settings.change_password")}
          </Button>
        </div>
      </form>
    </Section>
  );
}
