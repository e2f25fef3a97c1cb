import type { Columns } from "../../components/Table";
import { Duration, Money, Num, Percent } from "../../components/Values";
import { translate as t } from "../../i18n/i18n";
import { IntervalBar } from "./IntervalBar";
import type { Standing } from "./queries";

/** Columns of a model's results at a task type. Recreated for each language. */
export function resultColumns<T extends Standing>(): Columns<T> {
  return [
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
  ];
}
