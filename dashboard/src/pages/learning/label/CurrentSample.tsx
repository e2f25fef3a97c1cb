import { Link } from "@tanstack/react-router";
import { Check, Pencil, SkipForward, X } from "lucide-react";
import { useEffect, useRef } from "react";
import type { SampleOut } from "../../../api/types";
import { Button } from "../../../components/Button";
import { Correction } from "../../../components/Correction";
import { ErrorState } from "../../../components/ErrorState";
import { useT } from "../../../i18n/i18n";
import { useStore } from "../../../lib/store";
import type { Shortcuts } from "../../../shell/shortcuts";
import { SampleBadge } from "../SampleBadge";
import { Outputs, Prompt, Reason, Secrets } from "../SampleView";
import { approvalBlocker, type LabelSession } from "./labelSession";

interface CurrentSampleProps {
  session: LabelSession;
  row: SampleOut;
  /** The correction being edited; null when there is none. */
  editing: string | null;
  onEdit: (text: string | null) => void;
  keys: Shortcuts;
}

export function CurrentSample({ session, row, editing, onEdit, keys }: CurrentSampleProps) {
  const t = useT();
  const { pending, problem, conflict, phase } = useStore(session);
  return (
    <div className={phase === "writing" ? "stack labelling-row labelling-writing" : "stack labelling-row"} aria-busy={phase === "writing" || undefined}>
      {conflict && (
        <div className="notice notice-warn" role="alert">
          <div className="notice-text">
            <strong>{t("labelling.conflict")}</strong>
            <p>{t(editing !== null ? "labelling.conflict_editing" : "labelling.conflict_detail")}</p>
          </div>
        </div>
      )}
      {problem && <ErrorState problem={problem} compact />}
      <div className="row labelling-head">
        <SampleBadge state={pending && pending !== "skipped" ? pending : row.state} />
        {row.task_type && <span className="muted">{row.task_type}</span>}
        {row.task_id && (
          <Link to="/tasks/$taskId" params={{ taskId: row.task_id }} preload={false}>
            {t("sample.task")}
          </Link>
        )}
      </div>
      <Prompt sample={row} />
      <Reason sample={row} />
      <Secrets sample={row} onClear={() => session.clear()} />
      {editing === null ? (
        <>
          <Outputs sample={row} />
          <Decide row={row} busy={phase === "writing"} keys={keys} />
        </>
      ) : (
        <Editor session={session} row={row} text={editing} onEdit={onEdit} />
      )}
    </div>
  );
}

function Decide({ row, busy, keys }: { row: SampleOut; busy: boolean; keys: Shortcuts }) {
  const t = useT();
  const blocker = approvalBlocker(row);
  return (
    <div className="labelling-bar">
      <Button kind={blocker ? "plain" : "primary"} icon={<Check aria-hidden />} disabled={busy || blocker !== null} onClick={keys["1"]}>
        {t("labelling.approve")} <kbd>1</kbd>
      </Button>
      <Button kind={blocker === "uncorrected" ? "primary" : "plain"} icon={<Pencil aria-hidden />} disabled={busy} onClick={keys["2"]}>
        {t("labelling.edit")} <kbd>2</kbd>
      </Button>
      <Button kind="danger" icon={<X aria-hidden />} disabled={busy} onClick={keys["3"]}>
        {t("labelling.reject")} <kbd>3</kbd>
      </Button>
      <Button icon={<SkipForward aria-hidden />} disabled={busy} onClick={keys["4"]}>
        {t("labelling.skip")} <kbd>4</kbd>
      </Button>
      {blocker && <p className="muted small labelling-hint">{t(`labelling.${blocker}`)}</p>}
    </div>
  );
}

interface EditorProps {
  session: LabelSession;
  row: SampleOut;
  text: string;
  onEdit: (text: string | null) => void;
}

function Editor({ session, row, text, onEdit }: EditorProps) {
  const t = useT();
  const box = useRef<HTMLTextAreaElement>(null);
  const usable = text.trim() !== "";
  // The API refuses a sample with unreviewed secrets, so these are handled first.
  const approves = row.secrets.length === 0 || row.cleared;
  useEffect(() => box.current?.focus(), []);

  async function save(approve: boolean) {
    if (!usable) return;
    await session.decide({ corrected_output: text, ...(approve && { state: "approved" as const }) });
    const { problem, conflict } = session.state;
    // Text that was not saved is kept.
    if (!problem && !conflict) onEdit(null);
  }

  return (
    <form
      className="stack"
      onSubmit={(event) => {
        event.preventDefault();
        void save(approves);
      }}
      onKeyDown={(event) => event.key === "Escape" && onEdit(null)}
    >
      <Correction
        ref={box}
        faulty={row.faulty_output}
        faultyTitle={t("sample.faulty")}
        text={text}
        onChange={onEdit}
        onDone={() => void save(approves)}
      />
      <div className="labelling-bar">
        {approves && (
          <Button type="submit" kind="primary" disabled={!usable}>
            {t("labelling.save_approve")} <kbd>Ctrl</kbd> <kbd>↵</kbd>
          </Button>
        )}
        <Button kind={approves ? "plain" : "primary"} disabled={!usable} onClick={() => void save(false)}>
          {t("labelling.save")}
        </Button>
        <Button onClick={() => onEdit(null)}>
          {t("common.cancel")} <kbd>Esc</kbd>
        </Button>
      </div>
    </form>
  );
}
