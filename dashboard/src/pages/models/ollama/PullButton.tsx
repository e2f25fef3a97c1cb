import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { toProblem } from "../../../api/problem";
import { projectKey } from "../../../api/queries";
import { Button } from "../../../components/Button";
import { showToast } from "../../../components/Toast";
import { translate } from "../../../i18n/i18n";
import { startPull, type Which } from "./queries";

export interface PullButtonProps {
  which: Which;
  model: string;
  text: string;
}

export function PullButton({ which, model, text }: PullButtonProps) {
  const client = useQueryClient();
  const [busy, setBusy] = useState(false);
  async function pull() {
    setBusy(true);
    try {
      await startPull(which, model);
      await client.invalidateQueries({ queryKey: projectKey("ollama-pulls", which.providerId) });
    } catch (error) {
      showToast(toProblem(error).detail || translate("error.unreachable"), { tone: "bad" });
    } finally {
      setBusy(false);
    }
  }
  return (
    <Button size="small" busy={busy} aria-label={`${text}: ${model}`} onClick={() => void pull()}>
      {text}
    </Button>
  );
}
