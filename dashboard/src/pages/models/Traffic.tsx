import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import type { TrafficOut } from "../../api/types";
import { StackedBand } from "../../components/Charts";
import { EmptyState } from "../../components/EmptyState";
import { Select } from "../../components/Field";
import { Loaded } from "../../components/Loaded";
import { Section } from "../../components/Section";
import { Skeleton } from "../../components/Skeleton";
import { useFormats } from "../../i18n/format";
import { useT } from "../../i18n/i18n";
import { trafficQuery } from "./queries";
import { bandOf } from "./traffic";

export function Traffic({ days }: { days: number }) {
  const t = useT();
  const query = useQuery(trafficQuery(days));
  const [type, setType] = useState("");
  const types = [...new Set(query.data?.map((row) => row.task_type))].sort();
  // A type chosen earlier may not occur in the current period.
  const chosen = types.includes(type) ? type : "";
  return (
    <Section
      title={t("models.traffic")}
      detail={t("models.traffic_detail")}
      actions={
        types.length > 1 && (
          <Select aria-label={t("submit.type")} value={chosen} onChange={(event) => setType(event.target.value)}>
            <option value="">{t("models.all_types")}</option>
            {types.map((one) => (
              <option key={one}>{one}</option>
            ))}
          </Select>
        )
      }
    >
      <Loaded query={query} skeleton={<Skeleton height={160} />}>
        {(rows) =>
          rows.length === 0 ? (
            <EmptyState title={t("models.no_traffic")}>{t("models.no_calls_detail")}</EmptyState>
          ) : (
            <Band rows={rows} days={days} type={chosen} />
          )
        }
      </Loaded>
    </Section>
  );
}

function Band({ rows, days, type }: { rows: TrafficOut[]; days: number; type: string }) {
  const t = useT();
  const formats = useFormats();
  const { names, columns } = bandOf(rows, days, new Date(), t("models.rest"), type || undefined);
  const busy = columns.filter((column) => Object.keys(column.values).length > 0);
  return (
    <>
      <StackedBand
        label={t("models.traffic_label")}
        columns={columns.map(({ day, values }) => ({ key: day, title: formats.day(day), values }))}
        names={names}
      />
      <details>
        <summary>{t("models.numbers")}</summary>
        <div className="fold numbers">
          <table className="table">
            <thead>
              <tr>
                <th scope="col">{t("models.day")}</th>
                {names.map((name) => (
                  <th key={name} scope="col" className="table-end">
                    {name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {busy.map(({ day, values }) => (
                <tr key={day}>
                  <th scope="row">{formats.day(day)}</th>
                  {names.map((name) => (
                    <td key={name} className="table-end">
                      {formats.number(values[name] ?? 0)}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </>
  );
}
