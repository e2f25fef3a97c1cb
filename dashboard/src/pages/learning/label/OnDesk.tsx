import { Link } from "@tanstack/react-router";
import { Check, Pencil, SkipForward, X } from "lucide-react";
import { useEffect, useRef } from "react";
import type { SampleOut } from "../../../api/contract";
import { Button } from "../../../components/Button";
import { Correction } from "../../../components/Correction";
import { ErrorState } from "../../../components/ErrorState";
import { useT } from "../../../i18n/i18n";
import { useStore } from "../../../lib/store";
import type { Shortcuts } from "../../../shell/shortcuts";
import { SampleBadge } from "../SampleBadge";
import { Outputs, Prompt, Reason, Secrets } from "../SampleView";
import { hindrance, type Desk } from "./desk";

interface OnDeskProps {
  desk: Desk;
  row: SampleOut;
  /** The correction being edited; null when there is none. */
  editing: string | null;
  onEdit: (text: string | null) => void;
  keys: Shortcuts;
}

export function OnDesk({ desk, row, editing, onEdit, keys }: OnDeskProps) {
  const t = useT();
  const { given, problem, overtaken, phase } = useStore(desk);
  return (
    <div className={phase === "writing" ? "stack desk-row desk-writing" : "stack desk-row"} aria-busy={phase === "writing" || undefined}>
      {overtaken && (
        <div className="notice notice-warn" role="alert">
          <div className="notice-words">
            <strong>{t("desk.overtaken")}</strong>
            <p>{t(editing !== null ? "desk.overtaken_editing" : "desk.overtaken_detail")}</p>
          </div>
        </div>
      )}
      {problem && <ErrorState problem={problem} compact />}
      <div className="row desk-head">
        <SampleBadge state={given && given !== "skipped" ? given : row.state} />
        {row.task_type && <span className="muted">{row.task_type}</span>}
        {row.task_id && (
          <Link to="/tasks/$taskId" params={{ taskId: row.task_id }} preload={false}>
            {t("sample.task")}
          </Link>
        )}
      </div>
      <Prompt sample={row} />
      <Reason sample={row} />
      <Secrets sample={row} onClear={() => desk.clear()} />
      {editing === null ? (
        <>
          <Outputs sample={row} />
          <Decide row={row} busy={phase === "writing"} keys={keys} />
        </>
      ) : (
        <Editor desk={desk} row={row} text={editing} onEdit={onEdit} />
      )}
    </div>
  );
}

function Decide({ row, busy, keys }: { row: SampleOut; busy: boolean; keys: Shortcuts }) {
  const t = useT();
  const stands = hindrance(row);
  return (
    <div className="desk-bar">
      <Button kind={stands ? "plain" : "primary"} icon={<Check aria-hidden />} disabled={busy || stands !== null} onClick={keys["1"]}>
        {t("desk.approve")} <kbd>1</kbd>
      </Button>
      <Button kind={stands === "uncorrected" ? "primary" : "plain"} icon={<Pencil aria-hidden />} disabled={busy} onClick={keys["2"]}>
        {t("desk.edit")} <kbd>2</kbd>
      </Button>
      <Button kind="danger" icon={<X aria-hidden />} disabled={busy} onClick={keys["3"]}>
        {t("desk.reject")} <kbd>3</kbd>
      </Button>
      <Button icon={<SkipForward aria-hidden />} disabled={busy} onClick={keys["4"]}>
        {t("desk.skip")} <kbd>4</kbd>
      </Button>
      {stands && <p className="muted small desk-hint">{t(`desk.${stands}`)}</p>}
    </div>
  );
}

interface EditorProps {
  desk: Desk;
  row: SampleOut;
  text: string;
  onEdit: (text: string | null) => void;
}

function Editor({ desk, row, text, onEdit }: EditorProps) {
  const t = useT();
  const box = useRef<HTMLTextAreaElement>(null);
  const usable = text.trim() !== "";
  // The API refuses a sample with unreviewed secrets, so these are handled first.
  const approves = row.secrets.length === 0 || row.cleared;
  useEffect(() => box.current?.focus(), []);

  async function save(approve: boolean) {
    if (!usable) return;
    await desk.decide({ corrected_output: text, ...(approve && { state: "approved" as const }) });
    const { problem, overtaken } = desk.state;
    // Text that was not saved is kept.
    if (!problem && !overtaken) onEdit(null);
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
      <div className="desk-bar">
        {approves && (
          <Button type="submit" kind="primary" disabled={!usable}>
            {t("desk.save_approve")} <kbd>Ctrl</kbd> <kbd>↵</kbd>
          </Button>
        )}
        <Button kind={approves ? "plain" : "primary"} disabled={!usable} onClick={() => void save(false)}>
          {t("desk.save")}
        </Button>
        <Button onClick={() => onEdit(null)}>
          {t("common.cancel")} <kbd>Esc</kbd>
        </Button>
      </div>
    </form>
  );
}
