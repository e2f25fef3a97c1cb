import type { TaskTypeRoutingOut } from "./queries";
import { formatDuration, formatMoney, formatNumber } from "../../../i18n/format";
import { translate as t, type MessageKey } from "../../../i18n/i18n";

export type Outcome = "chosen" | "not_chosen" | "excluded";

const CHOSEN: readonly string[] = ["highest_score", "exploration", "kept", "only_candidate", "default_model", "last_resort"];

export function outcomeOf({ reason }: Pick<TaskTypeRoutingOut, "reason">): Outcome {
  if (reason === "excluded") return "excluded";
  return CHOSEN.includes(reason) ? "chosen" : "not_chosen";
}

/** Why the router would choose the model now, or not: one sentence in the current language. */
export function reasonOf(routing: TaskTypeRoutingOut): string {
  const { reason, own, rival, chosen, exclusion } = routing;
  if (reason === "excluded") return exclusionOf(routing);
  if (reason === "last_resort") return t("model.because_last_resort", { reason: exclusion ? exclusionOf(routing) : "" });
  if (reason === "highest_score" && own && rival) return t("model.because_highest_over", comparison(routing));
  if (reason === "lower_score" && own && rival) return t("model.because_lower", comparison(routing));
  if (reason === "other_kept") return t("model.because_other_kept", { model: chosen ?? "" });
  if (reason === "other_default") return t(chosen ? "model.because_other_default" : "model.because_no_default", { model: chosen ?? "" });
  return t(`model.because_${reason}` as MessageKey);
}

function exclusionOf({ exclusion }: TaskTypeRoutingOut): string {
  return exclusion ? t(`why.excluded_${exclusion.reason}` as MessageKey) : t("why.nobody");
}

/** What decides between the model and its rival: the quality, the cost or the time if it is known, else the score. */
function comparison({ own, rival, deciding }: TaskTypeRoutingOut): Record<string, string> {
  const model = rival?.model ?? "";
  if (deciding === "quality" && own && rival) {
    return { what: t("why.quality"), own: formatNumber(own.mu, 2), rival: formatNumber(rival.mu, 2), model };
  }
  if (deciding === "cost" && own?.expected_cost != null && rival?.expected_cost != null) {
    return { what: t("why.expected_cost"), own: formatMoney(own.expected_cost), rival: formatMoney(rival.expected_cost), model };
  }
  if (deciding === "latency" && own?.expected_latency_s != null && rival?.expected_latency_s != null) {
    const [mine, other] = [formatDuration(own.expected_latency_s), formatDuration(rival.expected_latency_s)];
    return { what: t("why.expected_time"), own: mine, rival: other, model };
  }
  return { what: t("model.score"), own: formatNumber(own?.utility ?? 0, 3), rival: formatNumber(rival?.utility ?? 0, 3), model };
}
