import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { EmptyState } from "../../components/EmptyState";
import { Loaded } from "../../components/Loaded";
import { ModelLink } from "../../components/ModelLink";
import { Section } from "../../components/Section";
import { Table, type Columns } from "../../components/Table";
import { useT } from "../../i18n/i18n";
import { leaderboardQuery, type Standing } from "./queries";
import { resultColumns } from "./resultColumns";

export function LeaderboardSection({ days }: { days: number }) {
  const t = useT();
  const query = useQuery(leaderboardQuery(days));
  const columns = useMemo<Columns<Standing>>(
    () => [
      {
        id: "model",
        accessorKey: "model",
        header: t("models.model"),
        cell: ({ row }) => <ModelLink name={row.original.model} />,
      },
      ...resultColumns<Standing>(),
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
