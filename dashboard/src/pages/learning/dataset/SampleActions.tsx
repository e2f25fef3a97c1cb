import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { Check, Lock, Pencil, Trash2, X } from "lucide-react";
import { useState, type ReactNode } from "react";
import { api, ok } from "../../../api/client";
import type { SampleDetail, SampleOut, SampleState } from "../../../api/types";
import { toProblem } from "../../../api/problem";
import { useCan } from "../../../api/queries";
import { Button } from "../../../components/Button";
import { ConfirmDialog } from "../../../components/ConfirmDialog";
import { Correction } from "../../../components/Correction";
import { ErrorState } from "../../../components/ErrorState";
import { showToast } from "../../../components/Toast";
import { translate, useT } from "../../../i18n/i18n";
import { approvalBlocker, type Change } from "../label/labelSession";
import { labelApi } from "../label/labelApi";
import { datasetChanged, sampleQuery } from "../queries";
import { textOf } from "../sample";
import { Secrets } from "../SampleView";

/** The actions on a sample. `children` show the sample while it is not being edited. */
export function SampleActions({ sample, children }: { sample: SampleDetail; children: ReactNode }) {
  const t = useT();
  const may = useCan("dataset:write");
  const client = useQueryClient();
  const key = sampleQuery(sample.id).queryKey;
  const [text, setText] = useState<string | null>(null);
  const act = useMutation({
    mutationFn: (work: () => Promise<SampleOut>) => work(),
    onSuccess: (row) => {
      client.setQueryData<SampleDetail>(key, (known) => known && { ...known, ...row });
      setText(null);
      datasetChanged(client);
    },
    onError: (error) => {
      // Reloads the sample under the error message; the typed text is kept.
      if (toProblem(error).code === "row_changed") void client.invalidateQueries({ queryKey: key });
    },
  });
  const undo = async () => void act.mutate(() => labelApi.undo(sample.id));
  async function change(what: Change) {
    await act.mutateAsync(() => labelApi.change(sample, what)).then(
      () => showToast(translate(`sample.now_${what.state ?? "corrected"}`), { action: { label: translate("common.undo"), run: () => void undo() } }),
      () => undefined, // Shown above the sample.
    );
  }
  return (
    <>
      <Secrets sample={sample} {...(may && { onClear: async () => void (await act.mutateAsync(() => labelApi.clear(sample))) })} />
      {act.isError && <ErrorState problem={act.error} compact />}
      {text === null ? (
        children
      ) : (
        <Correction
          faulty={sample.faulty_output}
          faultyTitle={t("sample.faulty")}
          text={text}
          onChange={setText}
          onDone={() => void change({ corrected_output: text })}
        />
      )}
      {may && text !== null && (
        <div className="labelling-bar">
          <Button kind="primary" busy={act.isPending} disabled={!text.trim()} onClick={() => void change({ corrected_output: text })}>
            {t("labelling.save")}
          </Button>
          <Button onClick={() => setText(null)}>{t("common.cancel")}</Button>
        </div>
      )}
      {may && text === null && <SampleButtons sample={sample} busy={act.isPending} onEdit={() => setText(textOf(sample))} onMove={(state) => void change({ state })} />}
    </>
  );
}

interface SampleButtonsProps {
  sample: SampleDetail;
  busy: boolean;
  onEdit: () => void;
  onMove: (state: SampleState) => void;
}

function SampleButtons({ sample, busy, onEdit, onMove }: SampleButtonsProps) {
  const t = useT();
  const blocker = approvalBlocker(sample);
  const moves = [
    { state: "approved", label: "labelling.approve", icon: <Check aria-hidden />, free: blocker === null },
    { state: "held_out", label: "sample.hold_out", icon: <Lock aria-hidden />, free: blocker === null },
    { state: "rejected", label: "labelling.reject", icon: <X aria-hidden />, free: true },
  ] as const;
  return (
    <div className="labelling-bar">
      <Button icon={<Pencil aria-hidden />} disabled={busy} onClick={onEdit}>
        {t("labelling.edit")}
      </Button>
      {moves.map(({ state, label, icon, free }) => (
        <Button key={state} icon={icon} disabled={busy || !free || sample.state === state} onClick={() => onMove(state)}>
          {t(label)}
        </Button>
      ))}
      <Erase sample={sample} />
      {blocker && <p className="muted small labelling-hint">{t(`labelling.${blocker}`)}</p>}
    </div>
  );
}

function Erase({ sample }: { sample: SampleDetail }) {
  const t = useT();
  const navigate = useNavigate();
  const client = useQueryClient();
  const [confirming, setConfirming] = useState(false);
  const names = sample.adapters.map(({ base, version }) => `${base} v${version}`);
  async function erase() {
    await ok(api.DELETE("/api/dataset/{sample_id}", { params: { path: { sample_id: sample.id } } }));
    showToast(translate("sample.erased"));
    await navigate({ to: "/learning/dataset", search: {} });
    client.removeQueries({ queryKey: sampleQuery(sample.id).queryKey });
    datasetChanged(client);
  }
  return (
    <>
      <Button kind="danger" icon={<Trash2 aria-hidden />} onClick={() => setConfirming(true)}>
        {t("sample.erase")}
      </Button>
      <ConfirmDialog open={confirming} onClose={() => setConfirming(false)} title={t("sample.erase_title")} action={t("sample.erase")} onConfirm={erase}>
        <p>{t("sample.erase_detail")}</p>
        {names.length > 0 && <p>{t("sample.erase_adapters", { names: names.join(", ") })}</p>}
      </ConfirmDialog>
    </>
  );
}
