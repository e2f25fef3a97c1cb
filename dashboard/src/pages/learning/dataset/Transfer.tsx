import { useQueryClient } from "@tanstack/react-query";
import { Download, Upload } from "lucide-react";
import { useRef, useState } from "react";
import { call } from "../../../api/client";
import type { Imported, SampleState } from "../../../api/contract";
import { download } from "../../../api/download";
import { useCan } from "../../../api/queries";
import { Button } from "../../../components/Button";
import { Dialog, DialogActions } from "../../../components/Dialog";
import { ErrorState } from "../../../components/ErrorState";
import { Checkbox, Field, Input, Select } from "../../../components/Field";
import { showToast } from "../../../components/Toast";
import { translate, useT } from "../../../i18n/i18n";
import { useSubmit } from "../../entry/useSubmit";
import { datasetChanged } from "../queries";

const EXPORTED: readonly SampleState[] = ["approved", "held_out", "corrected", "rejected"];
const EXAMPLE = '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}], "task_type": "summary"}';

/** Rows in and out, as chat-format JSON lines. */
export function Transfer() {
  const t = useT();
  const read = useCan("dataset:read");
  const write = useCan("dataset:write");
  const [open, setOpen] = useState<"import" | "export" | null>(null);
  const close = () => setOpen(null);
  return (
    <>
      {write && (
        <Button icon={<Upload aria-hidden />} onClick={() => setOpen("import")}>
          {t("dataset.import")}
        </Button>
      )}
      {read && (
        <Button icon={<Download aria-hidden />} onClick={() => setOpen("export")}>
          {t("dataset.export")}
        </Button>
      )}
      {open === "import" && <ImportDialog onClose={close} />}
      {open === "export" && <ExportDialog onClose={close} />}
    </>
  );
}

function ImportDialog({ onClose }: { onClose: () => void }) {
  const t = useT();
  const client = useQueryClient();
  const picker = useRef<HTMLInputElement>(null);
  const [file, setFile] = useState<File | null>(null);
  const [approve, setApprove] = useState(false);
  const { busy, problem, submit } = useSubmit(async () => {
    if (!file) return;
    const headers = { "content-type": "application/jsonl" };
    const options = { body: file as Blob, headers, query: { approve } };
    const { rows, joined } = await call<Imported>("POST", "/api/dataset/import", options);
    const known = joined > 0 ? ` ${translate("dataset.joined", { count: joined })}` : "";
    showToast(translate("dataset.imported", { count: rows }) + known);
    datasetChanged(client);
    onClose();
  });
  return (
    <Dialog open onClose={onClose} title={t("dataset.import_title")} initialFocus={picker}>
      <form className="stack" onSubmit={submit}>
        <Field label={t("dataset.file")} hint={t("dataset.file_hint")}>
          <Input
            ref={picker}
            type="file"
            required
            accept=".jsonl,.ndjson,.json,.txt"
            onChange={(event) => setFile(event.target.files?.[0] ?? null)}
          />
        </Field>
        <pre className="small example">{EXAMPLE}</pre>
        <Checkbox label={t("dataset.approve")} checked={approve} onChange={(event) => setApprove(event.target.checked)} />
        {problem && <ErrorState problem={problem} compact />}
        <DialogActions>
          <Button onClick={onClose}>{t("common.cancel")}</Button>
          <Button type="submit" kind="primary" busy={busy} disabled={!file}>
            {t("dataset.import")}
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}

function ExportDialog({ onClose }: { onClose: () => void }) {
  const t = useT();
  const [state, setState] = useState<SampleState>("approved");
  const { busy, problem, submit } = useSubmit(async () => {
    await download("/api/dataset/export", `dataset-${state}.jsonl`, { query: { state } });
    onClose();
  });
  return (
    <Dialog open onClose={onClose} title={t("dataset.export_title")}>
      <form className="stack" onSubmit={submit}>
        <Field label={t("dataset.export_state")} hint={t("dataset.export_hint")}>
          <Select value={state} onChange={(event) => setState(event.target.value as SampleState)}>
            {EXPORTED.map((one) => (
              <option key={one} value={one}>
                {t(`sample.${one}`)}
              </option>
            ))}
          </Select>
        </Field>
        {problem && <ErrorState problem={problem} compact />}
        <DialogActions>
          <Button onClick={onClose}>{t("common.cancel")}</Button>
          <Button type="submit" kind="primary" busy={busy}>
            {t("dataset.export_button")}
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}
