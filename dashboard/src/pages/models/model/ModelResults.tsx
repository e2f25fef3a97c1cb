import { useQuery } from "@tanstack/react-query";
import { EmptyState } from "../../../components/EmptyState";
import { Loaded } from "../../../components/Loaded";
import { Panel } from "../../../components/Panel";
import { Table, type Columns } from "../../../components/Table";
import { useT } from "../../../i18n/i18n";
import { leaderboardQuery, type Standing } from "../queries";
import { resultColumns } from "../resultColumns";

interface Result extends Standing {
  type: string;
}

/** The panel is narrower than the leaderboard. */
const WIDTHS: Record<string, string> = { quality: "24%", measured: "80px", first: "88px", duration: "84px", cost: "76px", share: "60px" };

/** Measured quality, speed, cost and share at each task type: the model's rows of the leaderboard. */
export function ModelResults({ name, days }: { name: string; days: number }) {
  const t = useT();
  const query = useQuery(leaderboardQuery(days));
  const columns: Columns<Result> = [
    { id: "type", accessorKey: "type", header: t("model.type"), cell: ({ row }) => <span title={row.original.type}>{row.original.type}</span> },
    ...resultColumns<Result>().map((column) => ({ ...column, meta: { ...column.meta, width: WIDTHS[column.id ?? ""] } })),
  ];
  return (
    <Panel title={t("model.results")}>
      <p className="muted">{t("model.results_detail")}</p>
      <Loaded query={query}>
        {(board) => {
          const rows = board.items.flatMap(({ task_type: type, models }) =>
            models.filter(({ model }) => model === name).map((row) => ({ ...row, type })),
          );
          if (rows.length === 0) return <EmptyState title={t("model.no_calls")}>{t("model.no_calls_detail")}</EmptyState>;
          return <Table label={t("model.results")} rows={rows} columns={columns} rowId={(row) => row.type} sortable />;
        }}
      </Loaded>
    </Panel>
  );
}
