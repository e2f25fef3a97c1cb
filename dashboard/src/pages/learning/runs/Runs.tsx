import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { useMemo } from "react";
import type { Run } from "../../../api/learning";
import { EmptyState } from "../../../components/EmptyState";
import { Loaded } from "../../../components/Loaded";
import { Section } from "../../../components/Section";
import { Table, type Columns } from "../../../components/Table";
import { Elapsed, Num, RelativeTime } from "../../../components/Values";
import { translate, useLanguage, useT } from "../../../i18n/i18n";
import { runsQuery } from "../queries";
import { shareDone } from "./curve";
import { RunBadge } from "./RunBadge";

export function Runs() {
  const t = useT();
  const language = useLanguage();
  const navigate = useNavigate();
  const columns = useMemo(columnsOf, [language]);
  return (
    <Section title={t("learning.runs")} detail={t("learning.runs_detail")}>
      <Loaded query={useQuery(runsQuery())}>
        {(runs) =>
          runs.length === 0 ? (
            <EmptyState title={t("learning.no_runs")}>{t("learning.no_runs_detail")}</EmptyState>
          ) : (
            <Table
              label={t("learning.runs")}
              rows={runs}
              columns={columns}
              rowId={({ id }) => id}
              onOpen={({ id }) => void navigate({ to: "/learning/runs/$runId", params: { runId: id } })}
            />
          )
        }
      </Loaded>
    </Section>
  );
}

function columnsOf(): Columns<Run> {
  const t = translate;
  return [
    { id: "state", header: t("tasks.state"), meta: { width: "132px" }, cell: ({ row }) => <RunBadge state={row.original.state} /> },
    {
      id: "base",
      header: t("run.base"),
      cell: ({ row: { original } }) => (
        <Link to="/learning/runs/$runId" params={{ runId: original.id }} preload={false} tabIndex={-1} className="plain-link">
          {original.base}
        </Link>
      ),
    },
    {
      id: "done",
      header: t("run.done_share"),
      meta: { width: "150px", wide: true },
      cell: ({ row }) => <Done run={row.original} />,
    },
    { id: "rows", header: t("run.rows"), meta: { width: "80px", align: "end", wide: true }, cell: ({ row }) => <Num value={row.original.rows} /> },
    {
      id: "duration",
      header: t("tasks.duration"),
      meta: { width: "100px", align: "end", wide: true },
      cell: ({ row: { original } }) => <Elapsed start={original.started_at} end={original.finished_at} />,
    },
    { id: "age", header: t("tasks.age"), meta: { width: "104px", align: "end" }, cell: ({ row }) => <RelativeTime at={row.original.created_at} /> },
  ];
}

function Done({ run }: { run: Run }) {
  const share = shareDone(run);
  if (share === null) return null;
  return <progress className="progress" max={1} value={share} aria-label={translate("run.done_share")} />;
}
