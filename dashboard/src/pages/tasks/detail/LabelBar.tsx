import { Check, Pencil, X } from "lucide-react";
import { useMemo, useRef, useState } from "react";
import type { Label, TaskDetail } from "../../../api/types";
import { useCan } from "../../../api/queries";
import { Badge, type Tone } from "../../../components/Badge";
import { Button } from "../../../components/Button";
import { Correction } from "../../../components/Correction";
import { Dialog, DialogActions } from "../../../components/Dialog";
import { Input } from "../../../components/Field";
import { RelativeTime } from "../../../components/Values";
import { useT } from "../../../i18n/i18n";
import { titleOf } from "../../../lib/title";
import { useShortcuts } from "../../../shell/shortcuts";
import { giveLabel, useDelayedLabel } from "../labels";

const TONES: Record<Label, Tone> = { accept: "good", edit: "info", reject: "warn" };

/** Accept, correct or reject by keyboard: a, e, r. */
export function LabelBar({ task }: { task: TaskDetail }) {
  const t = useT();
  const may = useCan("tasks:label");
  const [reason, setReason] = useState("");
  const [editing, setEditing] = useState(false);
  const answered = task.output !== null;
  const give = useMemo(
    () => (label: Label, output?: string) => {
      const given = reason.trim();
      giveLabel(task.id, titleOf(task.prompt), { label, ...(output !== undefined && { output }), ...(given && { reason: given }) });
      setReason("");
    },
    [task.id, task.prompt, reason],
  );
  const keys = useMemo(
    () =>
      may
        ? { ...(answered && { a: () => give("accept"), r: () => give("reject") }), e: () => setEditing(true) }
        : ({} as Record<string, () => void>),
    [may, answered, give],
  );
  useShortcuts(keys);
  return (
    <section className="panel" aria-labelledby="label-title">
      <div className="spread panel-head">
        <h2 id="label-title">{t("label.title")}</h2>
        <CurrentLabel task={task} />
      </div>
      {may && (
        <div className="label-bar">
          <Button kind="primary" icon={<Check aria-hidden />} disabled={!answered} onClick={() => give("accept")}>
            {t("label.accept")} <kbd>a</kbd>
          </Button>
          <Button icon={<Pencil aria-hidden />} onClick={() => setEditing(true)}>
            {t("label.edit")} <kbd>e</kbd>
          </Button>
          <Button kind="danger" icon={<X aria-hidden />} disabled={!answered} onClick={() => give("reject")}>
            {t("label.reject")} <kbd>r</kbd>
          </Button>
          <Input
            className="label-reason"
            value={reason}
            maxLength={2000}
            aria-label={t("label.reason")}
            placeholder={t("label.reason")}
            onChange={(event) => setReason(event.target.value)}
          />
        </div>
      )}
      <p className="muted small">{t("label.hint")}</p>
      {task.label?.output && (
        <details>
          <summary>{t("label.corrected")}</summary>
          <pre className="prompt">{task.label.output}</pre>
        </details>
      )}
      {editing && (
        <EditDialog
          before={task.output ?? ""}
          onClose={() => setEditing(false)}
          onSave={(output) => {
            setEditing(false);
            give("edit", output);
          }}
        />
      )}
    </section>
  );
}

function CurrentLabel({ task }: { task: TaskDetail }) {
  const t = useT();
  const held = useDelayedLabel(task.id);
  const label = held?.label ?? task.label?.label;
  if (!label) return null;
  return (
    <span className="row small">
      <Badge tone={TONES[label]} icon={label === "accept" ? <Check aria-hidden /> : label === "edit" ? <Pencil aria-hidden /> : <X aria-hidden />}>
        {t(`label.is_${label}`)}
      </Badge>
      <span className="muted">{held ? t("label.held") : <RelativeTime at={task.label?.at} />}</span>
    </span>
  );
}

function EditDialog({ before, onClose, onSave }: { before: string; onClose: () => void; onSave: (output: string) => void }) {
  const t = useT();
  const box = useRef<HTMLTextAreaElement>(null);
  const [text, setText] = useState(before);
  const changed = text !== before && text.trim() !== "";
  return (
    <Dialog open onClose={onClose} title={t("label.edit_title")} width="wide" initialFocus={box}>
      <Correction ref={box} faulty={before} text={text} onChange={setText} onDone={() => changed && onSave(text)} />
      <DialogActions>
        <Button onClick={onClose}>{t("common.cancel")}</Button>
        <Button kind="primary" disabled={!changed} onClick={() => onSave(text)}>
          {t("label.send")}
        </Button>
      </DialogActions>
    </Dialog>
  );
}
