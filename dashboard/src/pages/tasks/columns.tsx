import { Link } from "@tanstack/react-router";
import type { ListedTaskOut } from "../../api/types";
import { StateBadge, VerdictBadge } from "../../components/Badge";
import { ModelLink } from "../../components/ModelLink";
import type { Columns } from "../../components/Table";
import { Elapsed, Money, RelativeTime, Unknown } from "../../components/Values";
import { translate as t } from "../../i18n/i18n";
import { titleOf } from "../../lib/title";
import { FINAL } from "./detail/answer";

/** The verdict follows from the state; failed and cancelled tasks have none. */
export function approvedOf({ state }: Pick<ListedTaskOut, "state">): boolean | null {
  return state === "succeeded" ? true : state === "rejected" ? false : null;
}

/** Recreated for each language. */
export function columnsOf(): Columns<ListedTaskOut> {
  return [
    {
      id: "state",
      header: t("tasks.state"),
      meta: { width: "120px" },
      cell: ({ row }) => <StateBadge state={row.original.state} />,
    },
    {
      id: "title",
      header: t("tasks.name"),
      cell: ({ row: { original } }) => (
        <Link to="/tasks/$taskId" params={{ taskId: original.id }} preload={false} tabIndex={-1} className="task-link">
          {titleOf(original.prompt) || t("tasks.untitled")}
        </Link>
      ),
    },
    { id: "agent", header: t("tasks.agent"), meta: { width: "140px", wide: true }, accessorFn: (row) => row.agent },
    {
      id: "model",
      header: t("tasks.model"),
      meta: { width: "140px", wide: true },
      cell: ({ row }) => (row.original.model ? <ModelLink name={row.original.model} inRow /> : <Unknown />),
    },
    {
      id: "verdict",
      header: t("tasks.verdict"),
      meta: { width: "144px", wide: true },
      cell: ({ row: { original } }) =>
        FINAL.has(original.state) ? <VerdictBadge approved={approvedOf(original)} /> : <Unknown />,
    },
    {
      id: "duration",
      header: t("tasks.duration"),
      meta: { width: "84px", align: "end", wide: true },
      cell: ({ row }) => <Elapsed start={row.original.started_at} end={row.original.finished_at} />,
    },
    {
      id: "cost",
      header: t("tasks.cost"),
      meta: { width: "90px", align: "end", wide: true },
      cell: ({ row }) => <Money usd={row.original.cost_usd} />,
    },
    {
      id: "age",
      header: t("tasks.age"),
      meta: { width: "104px", align: "end" },
      cell: ({ row }) => <RelativeTime at={row.original.created_at} />,
    },
  ];
}
