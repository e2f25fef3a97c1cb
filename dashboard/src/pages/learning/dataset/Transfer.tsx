import { Download, Upload } from "lucide-react";
import { useState } from "react";
import type { SampleState } from "../../../api/types";
import { api } from "../../../api/client";
import { download } from "../../../api/download";
import { useCan } from "../../../api/queries";
import { Button } from "../../../components/Button";
import { Dialog, DialogActions } from "../../../components/Dialog";
import { ErrorState } from "../../../components/ErrorState";
import { Field, Select } from "../../../components/Field";
import { useT } from "../../../i18n/i18n";
import { useSubmit } from "../../entry/useSubmit";
import { ImportDialog } from "./ImportDialog";

const EXPORTED: readonly SampleState[] = ["approved", "held_out", "corrected", "rejected"];

/** Import and export of samples as JSON Lines in chat format. */
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

function ExportDialog({ onClose }: { onClose: () => void }) {
  const t = useT();
  const [state, setState] = useState<SampleState>("approved");
  const { busy, problem, submit } = useSubmit(async () => {
    const rows = api.GET("/api/dataset/export", { params: { query: { state } }, parseAs: "blob" });
    await download(rows, `dataset-${state}.jsonl`);
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
