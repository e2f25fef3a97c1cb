import { TriangleAlert } from "lucide-react";
import { useT } from "../../../i18n/i18n";
import { PullButton } from "./PullButton";
import { fullName, isRunning } from "./pulls";
import type { OllamaOut, PullOut, Which } from "./queries";

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
          <PullButton which={which} model={model.upstream} text={t("ollama.pull")} />
        </li>
      ))}
    </ul>
  );
}
