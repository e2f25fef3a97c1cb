import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { EmptyState } from "../../components/EmptyState";
import { Loaded } from "../../components/Loaded";
import { Section } from "../../components/Section";
import { Table, type Columns } from "../../components/Table";
import { Duration, Money, Num, Percent } from "../../components/Values";
import { useT } from "../../i18n/i18n";
import { IntervalBar } from "./IntervalBar";
import { leaderboardQuery, type Standing } from "./queries";

export function LeaderboardSection({ days }: { days: number }) {
  const t = useT();
  const query = useQuery(leaderboardQuery(days));
  const columns = useMemo<Columns<Standing>>(
    () => [
      {
        id: "model",
        accessorKey: "model",
        header: t("models.model"),
        cell: ({ row }) => <span title={row.original.model}>{row.original.model}</span>,
      },
      {
        id: "quality",
        accessorKey: "quality",
        header: t("models.quality"),
        meta: { width: "38%" },
        sortUndefined: "last",
        cell: ({ row }) => <IntervalBar standing={row.original} />,
      },
      {
        id: "measured",
        accessorKey: "measured",
        header: t("models.measured"),
        meta: { width: "84px", align: "end" },
        cell: ({ row }) => <Num value={row.original.measured} />,
      },
      {
        id: "first",
        accessorKey: "first_token_s",
        header: t("models.first_token"),
        meta: { width: "100px", align: "end", wide: true },
        cell: ({ row }) => <Duration seconds={row.original.first_token_s} />,
      },
      {
        id: "duration",
        accessorKey: "duration_s",
        header: t("models.duration"),
        meta: { width: "90px", align: "end", wide: true },
        cell: ({ row }) => <Duration seconds={row.original.duration_s} />,
      },
      {
        id: "cost",
        accessorKey: "cost_usd",
        header: t("models.cost"),
        meta: { width: "90px", align: "end", wide: true },
        cell: ({ row }) => <Money usd={row.original.cost_usd} />,
      },
      {
        id: "share",
        accessorKey: "share",
        header: t("models.share"),
        meta: { width: "76px", align: "end", wide: true },
        cell: ({ row }) => <Percent share={row.original.share} />,
      },
    ],
    [t],
  );
  return (
    <Section title={t("models.leaderboard")} detail={t("models.leaderboard_detail")}>
      <Loaded query={query}>
        {(board) =>
          board.items.length === 0 ? (
            <EmptyState title={t("models.no_calls")}>{t("models.no_calls_detail")}</EmptyState>
          ) : (
            <div className="sections models-types">
              {board.items.map((type) => (
                <div key={type.task_type} className="section">
                  <h3>{type.task_type}</h3>
                  <Table label={type.task_type} rows={type.models} columns={columns} rowId={(row) => row.model} sortable />
                </div>
              ))}
            </div>
          )
        }
      </Loaded>
    </Section>
  );
}
