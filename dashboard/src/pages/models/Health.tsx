import { useQueryClient } from "@tanstack/react-query";
import { CircleAlert, CircleCheck, CircleHelp, TriangleAlert } from "lucide-react";
import { useState } from "react";
import { api, ok } from "../../api/client";
import { toProblem } from "../../api/problem";
import { projectKey, useMe } from "../../api/queries";
import type { ModelOut } from "../../api/types";
import { Badge } from "../../components/Badge";
import { Button } from "../../components/Button";
import { showToast } from "../../components/Toast";
import { translate, useT } from "../../i18n/i18n";

export function Health({ state }: { state: string }) {
  const t = useT();
  if (state === "healthy") return <Badge tone="good" icon={<CircleCheck aria-hidden />}>{t("models.healthy")}</Badge>;
  if (state === "degraded") return <Badge tone="warn" icon={<TriangleAlert aria-hidden />}>{t("models.degraded")}</Badge>;
  if (state === "unhealthy") return <Badge tone="bad" icon={<CircleAlert aria-hidden />}>{t("models.unhealthy")}</Badge>;
  return <Badge icon={<CircleHelp aria-hidden />}>{state}</Badge>;
}

/** Closes the circuit breaker of an unhealthy model. Operators only. */
export function TryAgain({ model }: { model: ModelOut }) {
  const t = useT();
  const operator = useMe()?.operator ?? false;
  const client = useQueryClient();
  const [busy, setBusy] = useState(false);
  if (!operator || model.health === "healthy") return null;
  async function reset() {
    setBusy(true);
    try {
      await ok(api.POST("/api/models/{name}/reset", { params: { path: { name: model.name } } }));
      showToast(translate("models.reset_done", { name: model.name }));
      await client.invalidateQueries({ queryKey: projectKey("models") });
    } catch (error) {
      showToast(toProblem(error).detail || translate("error.unreachable"), { tone: "bad" });
    } finally {
      setBusy(false);
    }
  }
  return (
    <div>
      <Button size="small" busy={busy} title={t("models.reset_hint")} onClick={() => void reset()}>
        {t("common.retry")}
      </Button>
    </div>
  );
}
