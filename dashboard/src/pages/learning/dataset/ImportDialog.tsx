import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState, type FormEvent } from "react";
import { toProblem, type Problem } from "../../../api/problem";
import { Button } from "../../../components/Button";
import { Dialog, DialogActions } from "../../../components/Dialog";
import { ErrorState } from "../../../components/ErrorState";
import { Checkbox, Field, Input } from "../../../components/Field";
import { useT } from "../../../i18n/i18n";
import { datasetChanged } from "../queries";
import { upload, type Report } from "./upload";

const EXAMPLE = '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}], "task_type": "summary"}';
const MAX_REFUSALS = 100;

interface Progress {
  share: number;
  report: Report;
}

/** Imports a file in parts. Shows the result at the end, also after an interruption. */
export function ImportDialog({ onClose }: { onClose: () => void }) {
  const t = useT();
  const client = useQueryClient();
  const picker = useRef<HTMLInputElement>(null);
  const sending = useRef<AbortController | null>(null);
  const [file, setFile] = useState<File | null>(null);
  const [approve, setApprove] = useState(false);
  const [progress, setProgress] = useState<Progress | null>(null);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  useEffect(() => () => sending.current?.abort(), []);

  async function submit(event: FormEvent) {
    event.preventDefault();
    if (!file) return;
    const controller = (sending.current = new AbortController());
    setBusy(true);
    setProblem(null);
    setProgress(null);
    const onProgress = (share: number, report: Report) => setProgress({ share, report: { ...report } });
    try {
      const report = await upload(file, { approve, signal: controller.signal, onProgress });
      setProgress({ share: 1, report });
    } catch (error) {
      if (!controller.signal.aborted) setProblem(toProblem(error));
    } finally {
      setBusy(false);
      datasetChanged(client);
    }
  }

  const done = progress !== null && progress.share === 1 && !busy;
  return (
    <Dialog open onClose={onClose} title={t("dataset.import_title")} initialFocus={picker}>
      <form className="stack" onSubmit={submit}>
        <Field label={t("dataset.file")} hint={t("dataset.file_hint")}>
          <Input
            ref={picker}
            type="file"
            required
            disabled={busy}
            accept=".jsonl,.ndjson,.json,.txt"
            onChange={(event) => {
              setFile(event.target.files?.[0] ?? null);
              setProgress(null);
            }}
          />
        </Field>
        <pre className="small example">{EXAMPLE}</pre>
        <Checkbox
          label={t("dataset.approve")}
          checked={approve}
          disabled={busy}
          onChange={(event) => setApprove(event.target.checked)}
        />
        {busy && <progress className="progress" max={1} value={progress?.share ?? 0} aria-label={t("dataset.sent_share")} />}
        {progress && <ImportResult report={progress.report} />}
        {problem && <ErrorState problem={problem} compact />}
        {problem && progress && <p className="small">{t("dataset.resume")}</p>}
        <DialogActions>
          <Button onClick={onClose}>{t(done ? "common.close" : "common.cancel")}</Button>
          {!done && (
            <Button type="submit" kind="primary" busy={busy} disabled={!file}>
              {t("dataset.import")}
            </Button>
          )}
        </DialogActions>
      </form>
    </Dialog>
  );
}

function ImportResult({ report }: { report: Report }) {
  const t = useT();
  const shown = report.refusals.slice(0, MAX_REFUSALS);
  return (
    <div className="stack" role="status">
      <ul className="import-outcome small">
        {(["new", "updated", "unchanged", "refused"] as const).map((name) => (
          <li key={name}>{t(`dataset.rows_${name}`, { count: report[name] })}</li>
        ))}
      </ul>
      {shown.length > 0 && (
        <ul className="import-outcome refusals small" tabIndex={0} aria-label={t("dataset.refusals")}>
          {shown.map(({ line, reason }) => (
            <li key={line}>{t("dataset.refusal", { line, reason })}</li>
          ))}
          {report.refused > shown.length && <li>{t("dataset.more_refused", { count: report.refused - shown.length })}</li>}
        </ul>
      )}
    </div>
  );
}
