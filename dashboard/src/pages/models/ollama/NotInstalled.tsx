import { useQueryClient } from "@tanstack/react-query";
import { TriangleAlert } from "lucide-react";
import { useState } from "react";
import { toProblem } from "../../../api/problem";
import { projectKey } from "../../../api/queries";
import { Button } from "../../../components/Button";
import { showToast } from "../../../components/Toast";
import { translate, useT } from "../../../i18n/i18n";
import { fullName, isRunning } from "./pulls";
import { startPull, type OllamaOut, type PullOut, type Which } from "./queries";

export interface NotInstalledProps {
  which: Which;
  models: OllamaOut["not_installed"];
  pulls: readonly PullOut[];
}

/** Models of the catalogue that the server does not have, so that calls to them fail. */
export function NotInstalled({ which, models, pulls }: NotInstalledProps) {
  const t = useT();
  const running = new Set(pulls.filter(isRunning).map((pull) => fullName(pull.model)));
  const missing = models.filter((model) => !running.has(fullName(model.upstream)));
  if (missing.length === 0) return null;
  return (
    <ul className="pulls" aria-label={t("ollama.missing")}>
      {missing.map((model) => (
        <li key={model.id} className="pull pull-ended">
          <TriangleAlert aria-hidden />
          <div className="pull-text">
            <strong>{t("ollama.missing_one", { name: model.name })}</strong>
            <p>{t("ollama.missing_detail", { name: model.upstream })}</p>
          </div>
          <PullButton which={which} name={model.upstream} />
        </li>
      ))}
    </ul>
  );
}

function PullButton({ which, name }: { which: Which; name: string }) {
  const t = useT();
  const client = useQueryClient();
  const [busy, setBusy] = useState(false);
  async function pull() {
    setBusy(true);
    try {
      await startPull(which, name);
      await client.invalidateQueries({ queryKey: projectKey("ollama-pulls", which.providerId) });
    } catch (error) {
      showToast(toProblem(error).detail || translate("error.unreachable"), { tone: "bad" });
    } finally {
      setBusy(false);
    }
  }
  return (
    <Button size="small" busy={busy} aria-label={t("ollama.pull_of", { name })} onClick={() => void pull()}>
      {t("ollama.pull")}
    </Button>
  );
}
