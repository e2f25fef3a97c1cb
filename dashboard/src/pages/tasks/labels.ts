/** The tab's unsent labels: shown at once, delayed while they can be undone, then sent. */
import { api, ok } from "../../api/client";
import type { TaskDetail } from "../../api/types";
import { toProblem } from "../../api/problem";
import { queryClient } from "../../api/queryClient";
import { projectKey } from "../../api/queries";
import { showToast } from "../../components/Toast";
import { translate } from "../../i18n/i18n";
import { beforeLeaving } from "../../lib/leaving";
import { useStore } from "../../lib/store";
import { UNDO_MS, LabelQueue, type DelayedLabel, type LabelBody } from "./labelQueue";

const titles = new Map<string, string>();

export const labelQueue = new LabelQueue(send);

async function send({ task, body }: DelayedLabel, keepalive: boolean): Promise<void> {
  const key = projectKey("task", task);
  try {
    const params = { path: { task_id: task } };
    const detail = await ok(api.POST("/api/tasks/{task_id}/label", { params, body, keepalive }));
    queryClient.setQueryData<TaskDetail>(key, (known) => known && detail);
    void queryClient.invalidateQueries({ queryKey: projectKey("overview") });
  } catch (error) {
    const reason = toProblem(error).detail || translate("error.unreachable");
    showToast(translate("label.failed", { title: titles.get(task) ?? task, reason }), {
      tone: "bad",
      ms: 20_000,
      action: { label: translate("common.retry"), run: () => void send({ task, body }, false) },
    });
  }
}

addEventListener("pagehide", () => void labelQueue.flush(true));
beforeLeaving(() => labelQueue.flush());

export function giveLabel(task: string, title: string, body: LabelBody): void {
  titles.set(task, title);
  const undo = labelQueue.delay(task, body);
  const options = undo ? { ms: UNDO_MS, action: { label: translate("common.undo"), run: undo } } : {};
  showToast(translate(`label.toast_${body.label}`, { title }), options);
}

export function useDelayedLabel(task: string): LabelBody | undefined {
  return useStore(labelQueue).find((held) => held.task === task)?.body;
}
