import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { useCallback, useMemo } from "react";
import type { SampleOut } from "../../../api/types";
import { useCan } from "../../../api/queries";
import { Button } from "../../../components/Button";
import { EmptyState } from "../../../components/EmptyState";
import { ErrorState } from "../../../components/ErrorState";
import { Table, type Columns } from "../../../components/Table";
import { Num, RelativeTime, Unknown } from "../../../components/Values";
import { translate, useLanguage, useT } from "../../../i18n/i18n";
import { ROW_KEYS } from "../../../shell/rowKeys";
import { useShortcuts } from "../../../shell/shortcuts";
import type { SampleFilters } from "../filters";
import { LearningFrame } from "../LearningFrame";
import { samplesQuery, statsQuery } from "../queries";
import { titleOfSample } from "../sample";
import { SampleBadge } from "../SampleBadge";
import { SampleFilterBar } from "./SampleFilterBar";
import { Transfer } from "./Transfer";

const route = getRouteApi("/app/learning/dataset");

export function DatasetPage() {
  const t = useT();
  const language = useLanguage();
  const filters = route.useSearch();
  const navigate = useNavigate();
  const filter = route.useNavigate();
  const query = useInfiniteQuery(samplesQuery(filters));
  const types = Object.keys(useQuery(statsQuery()).data?.task_types ?? {}).filter(Boolean).sort();
  const rows = useMemo(() => query.data?.pages.flatMap((page) => page.items) ?? [], [query.data]);
  // The column heads depend on `language`.
  const columns = useMemo(columnsOf, [language]);
  const change = useCallback(
    (part: Partial<SampleFilters>) => void filter({ search: (before) => ({ ...before, ...part }), replace: true }),
    [filter],
  );
  const open = useCallback(
    ({ id }: SampleOut) => void navigate({ to: "/learning/dataset/$sampleId", params: { sampleId: id } }),
    [navigate],
  );
  const { fetchNextPage, hasNextPage, isFetchingNextPage } = query;
  const more = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
  }, [fetchNextPage, hasNextPage, isFetchingNextPage]);
  useShortcuts(ROW_KEYS);
  const failed = query.isError && rows.length === 0;
  const filtered = Object.values(filters).some((value) => value !== undefined);
  return (
    <LearningFrame title={t("dataset.title")} detail={t("dataset.detail")} actions={<Transfer />}>
      <SampleFilterBar filters={filters} types={types} onChange={change} />
      {failed ? (
        <ErrorState problem={query.error} onRetry={() => void query.refetch()} />
      ) : (
        <Table
          label={t("dataset.table")}
          rows={rows}
          columns={columns}
          rowId={idOf}
          onOpen={open}
          onEnd={more}
          loading={query.isPending || isFetchingNextPage}
          empty={<EmptyDataset filtered={filtered} onClear={() => void navigate({ to: "/learning/dataset", search: {} })} />}
        />
      )}
      {query.isFetchNextPageError && <ErrorState problem={query.error} onRetry={() => void fetchNextPage()} compact />}
    </LearningFrame>
  );
}

const idOf = (row: SampleOut) => row.id;

function columnsOf(): Columns<SampleOut> {
  const t = translate;
  return [
    {
      id: "state",
      header: t("sample.state"),
      meta: { width: "124px" },
      cell: ({ row }) => <SampleBadge state={row.original.state} />,
    },
    {
      id: "title",
      header: t("sample.prompt"),
      cell: ({ row: { original } }) => (
        <Link to="/learning/dataset/$sampleId" params={{ sampleId: original.id }} preload={false} tabIndex={-1} className="plain-link">
          {titleOfSample(original) || t("tasks.untitled")}
        </Link>
      ),
    },
    {
      id: "type",
      header: t("tasks.type"),
      meta: { width: "120px", wide: true },
      cell: ({ row }) => row.original.task_type ?? <Unknown />,
    },
    {
      id: "source",
      header: t("sample.source"),
      meta: { width: "120px", wide: true },
      cell: ({ row }) => t(`sample.source_${row.original.source}`),
    },
    {
      id: "model",
      header: t("tasks.model"),
      meta: { width: "140px", wide: true },
      cell: ({ row }) => row.original.adapter ?? row.original.model ?? <Unknown />,
    },
    {
      id: "seen",
      header: t("sample.times"),
      meta: { width: "72px", align: "end", wide: true },
      cell: ({ row }) => <Num value={row.original.seen} />,
    },
    {
      id: "age",
      header: t("tasks.age"),
      meta: { width: "104px", align: "end" },
      cell: ({ row }) => <RelativeTime at={row.original.created_at} />,
    },
  ];
}

function EmptyDataset({ filtered, onClear }: { filtered: boolean; onClear: () => void }) {
  const t = useT();
  const write = useCan("dataset:write");
  if (filtered) {
    return <EmptyState title={t("dataset.none_match")} action={<Button onClick={onClear}>{t("tasks.clear")}</Button>} />;
  }
  return <EmptyState title={t("dataset.empty")}>{t(write ? "dataset.empty_detail" : "dataset.empty_read")}</EmptyState>;
}
