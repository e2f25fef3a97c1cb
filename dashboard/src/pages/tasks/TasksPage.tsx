import type { ListedTaskOut } from "../../api/types";
import { useInfiniteQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { Plus, RefreshCw } from "lucide-react";
import { useCallback, useMemo } from "react";
import { tasksQuery, useCan, type TaskFilters } from "../../api/queries";
import { Button } from "../../components/Button";
import { EmptyState } from "../../components/EmptyState";
import { ErrorState } from "../../components/ErrorState";
import { PageHeader } from "../../components/PageHeader";
import { Table } from "../../components/Table";
import { useLanguage, useT } from "../../i18n/i18n";
import { openDialog } from "../../shell/dialogs";
import { ROW_KEYS } from "../../shell/rowKeys";
import { useShortcuts } from "../../shell/shortcuts";
import { columnsOf } from "./columns";
import { TaskFilterBar } from "./TaskFilters";
import "./tasks.css";

const route = getRouteApi("/app/tasks");

export function TasksPage() {
  const t = useT();
  const language = useLanguage();
  const filters = route.useSearch();
  const navigate = useNavigate();
  const filter = route.useNavigate();
  const query = useInfiniteQuery(tasksQuery(filters));
  const rows = useMemo<ListedTaskOut[]>(() => query.data?.pages.flatMap((page) => page.items) ?? [], [query.data]);
  // The column heads depend on `language`.
  const columns = useMemo(columnsOf, [language]);
  const types = useMemo(() => [...new Set(rows.flatMap((row) => row.task_type ?? []))].sort(), [rows]);
  useShortcuts(ROW_KEYS);

  const change = useCallback(
    (part: Partial<TaskFilters>) => void filter({ search: (before) => ({ ...before, ...part }), replace: true }),
    [filter],
  );
  const open = useCallback(
    (task: ListedTaskOut) => void navigate({ to: "/tasks/$taskId", params: { taskId: task.id } }),
    [navigate],
  );
  const { fetchNextPage, hasNextPage, isFetchingNextPage } = query;
  const more = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
  }, [fetchNextPage, hasNextPage, isFetchingNextPage]);

  const filtered = Object.values(filters).some((value) => value !== undefined);
  const failed = query.isError && rows.length === 0;
  return (
    <>
      <PageHeader title={t("tasks.title")} />
      <TaskFilterBar filters={filters} types={types} onChange={change} />
      {(filters.q || filters.labelled) && !failed && (
        <p className="muted small search-note">
          {t("tasks.search_not_live")}{" "}
          <Button kind="quiet" size="small" icon={<RefreshCw aria-hidden />} busy={query.isRefetching} onClick={() => void query.refetch()}>
            {t("tasks.search_again")}
          </Button>
        </p>
      )}
      {failed ? (
        <ErrorState problem={query.error} onRetry={() => void query.refetch()} />
      ) : (
        <Table
          label={t("tasks.table")}
          rows={rows}
          columns={columns}
          rowId={idOf}
          rowHeight={34}
          onOpen={open}
          onEnd={more}
          loading={query.isPending || isFetchingNextPage}
          empty={<EmptyTasks filtered={filtered} onClear={() => void navigate({ to: "/tasks", search: {} })} />}
        />
      )}
      {query.isFetchNextPageError && <ErrorState problem={query.error} onRetry={() => void fetchNextPage()} compact />}
    </>
  );
}

const idOf = (row: ListedTaskOut) => row.id;

function EmptyTasks({ filtered, onClear }: { filtered: boolean; onClear: () => void }) {
  const t = useT();
  const write = useCan("tasks:write");
  if (filtered) {
    return <EmptyState title={t("tasks.none_match")} action={<Button onClick={onClear}>{t("tasks.clear")}</Button>} />;
  }
  const submit = (
    <Button kind="primary" icon={<Plus aria-hidden />} onClick={() => openDialog.set("submit")}>
      {t("shell.submit_task")}
    </Button>
  );
  return (
    <EmptyState title={t("tasks.empty")} action={write && submit}>
      {t(write ? "tasks.empty_detail" : "tasks.empty_read")}
    </EmptyState>
  );
}
