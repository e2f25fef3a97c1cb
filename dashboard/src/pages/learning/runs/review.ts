import type { BaseCheck, Kind, Review } from "../../../api/learning";
import { translate } from "../../../i18n/i18n";

/** Returns the name of a kind: its task type and its central prompt. */
export function kindName({ task_type, prompt }: Kind, { kinds_problem }: Pick<Review, "kinds_problem">): string {
  if (kinds_problem !== null) return task_type ?? translate("review.no_type");
  const name = prompt ?? translate("review.others");
  return task_type ? `${task_type}: ${name}` : name;
}

/** Returns the number of samples for which the time was too short. */
export function notAsked({ chosen, asked, failed }: Pick<BaseCheck, "chosen" | "asked" | "failed">): number {
  return Math.max(0, chosen - asked - failed);
}
