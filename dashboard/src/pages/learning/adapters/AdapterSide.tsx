import { Link } from "@tanstack/react-router";
import { Download } from "lucide-react";
import { useState } from "react";
import type { AdapterDetail, LineageRow } from "../../../api/learning";
import { api } from "../../../api/client";
import { download } from "../../../api/download";
import { Button } from "../../../components/Button";
import { ErrorState } from "../../../components/ErrorState";
import { ModelLink } from "../../../components/ModelLink";
import { Fact, Panel } from "../../../components/Panel";
import { Id, Num, RelativeTime } from "../../../components/Values";
import { useFormats } from "../../../i18n/format";
import { useT } from "../../../i18n/i18n";
import { useSubmit } from "../../entry/useSubmit";
import { Serving } from "./AdapterBadge";
import { RulingBadge } from "./Report";

export function AdapterFacts({ adapter }: { adapter: AdapterDetail }) {
  const t = useT();
  const formats = useFormats();
  return (
    <Panel title={t("task.facts")}>
      <dl className="facts">
        <Fact name={t("run.base")}>
          <ModelLink name={adapter.base} />
        </Fact>
        <Fact name={t("sample.version")}>
          <Num value={adapter.version} />
        </Fact>
        {adapter.ruling && (
          <Fact name={t("adapter.ruling")}>
            <RulingBadge ruling={adapter.ruling} />
          </Fact>
        )}
        <Fact name={t("adapter.serving")}>
          <Serving adapter={adapter} />
        </Fact>
        <Fact name={t("adapter.size")}>{formats.bytes(adapter.bytes)}</Fact>
        <Fact name="SHA-256">
          <Id id={adapter.sha256} />
        </Fact>
        <Fact name={t("run.created")}>
          <RelativeTime at={adapter.created_at} />
        </Fact>
        <Fact name={t("adapter.changed")}>
          <RelativeTime at={adapter.changed_at} />
        </Fact>
        <Fact name={t("run.title")}>
          <Link to="/learning/runs/$runId" params={{ runId: adapter.run_id }}>
            {t("adapter.run")}
          </Link>
        </Fact>
      </dl>
      <DownloadFile adapter={adapter} />
    </Panel>
  );
}

function DownloadFile({ adapter }: { adapter: AdapterDetail }) {
  const t = useT();
  const { busy, problem, submit } = useSubmit(() =>
    download(
      api.GET("/api/adapters/{adapter_id}/gguf", { params: { path: { adapter_id: adapter.id } }, parseAs: "blob" }),
      `${adapter.name}.gguf`,
    ),
  );
  if (adapter.state === "deleted") return null;
  return (
    <div className="stack">
      <Button icon={<Download aria-hidden />} busy={busy} onClick={(event) => void submit(event)}>
        {t("adapter.download")}
      </Button>
      {problem && <ErrorState problem={problem} compact />}
    </div>
  );
}

export function Manifest({ adapter }: { adapter: AdapterDetail }) {
  const t = useT();
  return (
    <Panel title={t("adapter.manifest")}>
      <details>
        <summary>{t("adapter.manifest_show")}</summary>
        <pre className="prompt manifest" tabIndex={0}>
          {JSON.stringify(adapter.manifest, null, 2)}
        </pre>
      </details>
    </Panel>
  );
}

const SHOWN = 50;

/** The samples used for the adapter, in the versions of that time. */
export function Lineage({ adapter: { rows } }: { adapter: AdapterDetail }) {
  const t = useT();
  const [all, setAll] = useState(false);
  const erased = rows.filter((row) => row.erased).length;
  const shown = all ? rows : rows.slice(0, SHOWN);
  return (
    <Panel title={t("lineage.title")}>
      <p className="muted">
        {t("lineage.detail", { count: rows.length })} {erased > 0 && t("lineage.erased_count", { count: erased })}
      </p>
      {rows.length > 0 && (
        <div className="plain-box lineage" tabIndex={0} role="region" aria-label={t("lineage.title")}>
          <table className="plain">
            <thead>
              <tr>
                <th scope="col">{t("lineage.row")}</th>
                <th scope="col">{t("lineage.part")}</th>
                <th scope="col" className="table-end">
                  {t("sample.version")}
                </th>
              </tr>
            </thead>
            <tbody>
              {shown.map((row) => (
                <tr key={row.sample_id}>
                  <th scope="row">
                    <RowName row={row} />
                  </th>
                  <td>{t(`lineage.${row.part}`)}</td>
                  <td className="table-end">
                    <Num value={row.version} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {shown.length < rows.length && (
        <div>
          <Button size="small" onClick={() => setAll(true)}>
            {t("answer.show_all")}
          </Button>
        </div>
      )}
    </Panel>
  );
}

function RowName({ row }: { row: LineageRow }) {
  const t = useT();
  const name = <code>…{row.sample_id.slice(-8)}</code>;
  if (row.erased) {
    return (
      <span className="muted">
        {name} {t("lineage.erased")}
      </span>
    );
  }
  return (
    <Link to="/learning/dataset/$sampleId" params={{ sampleId: row.sample_id }} preload={false}>
      {name}
    </Link>
  );
}
