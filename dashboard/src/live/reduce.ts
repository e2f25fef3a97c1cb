/** Applies a batch of events to the cached lists and details. Pure functions. */
import type { InfiniteData } from "@tanstack/react-query";
import type { EventOut, ListedTaskOut, TaskDetail, TaskPage } from "../api/types";
import type { TaskFilters } from "../api/queries";
import type { LiveEvent } from "./messages";

export type TaskPages = InfiniteData<TaskPage, string | null>;

/** The last state of each task in the batch; earlier states would be overwritten at once. */
export function latest(events: readonly LiveEvent[]): Map<string, ListedTaskOut> {
  const tasks = new Map<string, ListedTaskOut>();
  for (const event of events) tasks.set(event.task_id, event.task);
  return tasks;
}

export function matches(task: ListedTaskOut, filters: TaskFilters): boolean {
  return (
    (!filters.state?.length || filters.state.includes(task.state)) &&
    (!filters.agent || filters.agent === task.agent) &&
    (!filters.model || filters.model === task.model) &&
    (!filters.task_type || filters.task_type === task.task_type) &&
    (!filters.ended_since || Date.parse(task.finished_at ?? "") >= Date.parse(filters.ended_since))
  );
}

/**
 * Returns the pages with the batch applied: rows updated in place, new rows on top, rows that no longer match removed.
 */
export function reducePages(data: TaskPages, filters: TaskFilters, tasks: Map<string, ListedTaskOut>): TaskPages {
  const unseen = new Map(tasks);
  let changed = false;
  const pages = data.pages.map((page) => {
    let touched = false;
    const items: ListedTaskOut[] = [];
    for (const row of page.items) {
      const task = unseen.get(row.id);
      unseen.delete(row.id);
      if (!task) items.push(row);
      else if (matches(task, filters)) items.push(task);
      touched ||= task !== undefined;
    }
    changed ||= touched;
    return touched ? { ...page, items } : page;
  });
  const added = filters.q || filters.labelled ? [] : newRows(unseen, filters, data);
  const first = pages[0];
  if (first && added.length > 0) {
    pages[0] = { ...first, items: [...added, ...first.items] };
    changed = true;
  }
  return changed ? { ...data, pages } : data;
}

/**
 * Text search and label filters cannot be evaluated here, and a task older than the loaded rows belongs to a page that
 * is not loaded.
 */
function newRows(unseen: Map<string, ListedTaskOut>, filters: TaskFilters, data: TaskPages): ListedTaskOut[] {
  const loaded = data.pages.flatMap((page) => page.items);
  const complete = data.pages.at(-1)?.next == null;
  const oldest = loaded.at(-1)?.created_at ?? "";
  return [...unseen.values()]
    .filter((task) => matches(task, filters) && (complete || task.created_at >= oldest))
    .sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
}

export function reduceDetail(detail: TaskDetail, events: readonly LiveEvent[]): TaskDetail {
  const known = new Set(detail.events.map((event) => event.id));
  const fresh = events.filter((event) => event.task_id === detail.id);
  const last = fresh.at(-1);
  if (!last) return detail;
  const added = fresh.filter((event) => !known.has(event.id)).map(stored);
  return { ...detail, ...whole(last.task), events: [...detail.events, ...added] };
}

/** The fields of a row that are not cut to an excerpt; the detail keeps its own texts until it is fetched again. */
function whole({ prompt: _prompt, output: _output, error: _error, ...fields }: ListedTaskOut) {
  return fields;
}

function stored({ id, attempt, kind, data, at }: LiveEvent): EventOut {
  return { id, attempt, kind, data, at };
}
