import type { MessageKey } from "../../../i18n/i18n";
import type { PullOut } from "./queries";

export const PHASES: Record<PullOut["phase"], MessageKey> = {
  starting: "ollama.phase_starting",
  manifest: "ollama.phase_manifest",
  downloading: "ollama.phase_downloading",
  verifying: "ollama.phase_verifying",
  finishing: "ollama.phase_finishing",
};

export const ENDS: Record<Exclude<PullOut["state"], "running">, MessageKey> = {
  succeeded: "ollama.ended_succeeded",
  failed: "ollama.ended_failed",
  cancelled: "ollama.ended_cancelled",
  interrupted: "ollama.ended_interrupted",
};

/** The share that is present, in [0, 1]; null while it is unknown. */
export function shareOf({ completed, total }: Pick<PullOut, "completed" | "total">): number | null {
  if (total === null || total <= 0) return null;
  return Math.min(1, Math.max(0, (completed ?? 0) / total));
}

/** Names are the same in Ollama if they differ in case, or in a tag that is `latest`. */
export function fullName(name: string): string {
  return (name.slice(name.lastIndexOf("/") + 1).includes(":") ? name : `${name}:latest`).toLowerCase();
}

export const isRunning = (pull: PullOut): boolean => pull.state === "running";

/** Ended pulls that did not bring their model: the newest of each model, unless a later one runs or succeeded. */
export function unfinished(pulls: readonly PullOut[], most = 5): PullOut[] {
  const seen = new Set<string>();
  const found: PullOut[] = [];
  for (const pull of pulls) {
    const name = fullName(pull.model);
    if (seen.has(name)) continue;
    seen.add(name);
    if (pull.state === "failed" || pull.state === "interrupted") found.push(pull);
  }
  return found.slice(0, most);
}

/** The pulls that ran before and have ended now. */
export function ended(before: readonly PullOut[], now: readonly PullOut[]): PullOut[] {
  const running = new Set(before.filter(isRunning).map((pull) => pull.id));
  return now.filter((pull) => running.has(pull.id) && !isRunning(pull));
}
