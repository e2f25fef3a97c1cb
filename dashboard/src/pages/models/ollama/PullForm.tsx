import { useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { toProblem, type Problem } from "../../../api/problem";
import { projectKey } from "../../../api/queries";
import { Button } from "../../../components/Button";
import { ErrorState } from "../../../components/ErrorState";
import { Field, Input } from "../../../components/Field";
import { useT } from "../../../i18n/i18n";
import { startPull, type Which } from "./queries";

export function PullForm({ which }: { which: Which }) {
  const t = useT();
  const client = useQueryClient();
  const [name, setName] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);

  async function pull(event: FormEvent) {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    try {
      await startPull(which, name);
      setName("");
      await client.invalidateQueries({ queryKey: projectKey("ollama-pulls", which.providerId) });
    } catch (error) {
      setProblem(toProblem(error));
    } finally {
      setBusy(false);
    }
  }

  return (
    <form className="stack pull-form" onSubmit={(event) => void pull(event)}>
      <div className="pull-field">
        <Field label={t("ollama.model")} hint={t("ollama.model_hint")}>
          <Input
            value={name}
            onChange={(event) => setName(event.target.value)}
            autoComplete="off"
            autoCapitalize="none"
            spellCheck={false}
            maxLength={600}
            placeholder="llama3.2:3b"
            required
          />
        </Field>
        <Button type="submit" kind="primary" busy={busy}>
          {t("ollama.pull")}
        </Button>
      </div>
      {problem && <ErrorState problem={problem} compact />}
    </form>
  );
}
