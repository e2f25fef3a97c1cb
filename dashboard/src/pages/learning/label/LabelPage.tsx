import { useQueryClient } from "@tanstack/react-query";
import { Undo2 } from "lucide-react";
import { useCallback, useEffect, useMemo, useState } from "react";
import type { SampleOut } from "../../../api/contract";
import { useMe } from "../../../api/queries";
import { Button } from "../../../components/Button";
import { EmptyState } from "../../../components/EmptyState";
import { ErrorState } from "../../../components/ErrorState";
import { SkeletonRows } from "../../../components/Skeleton";
import { useT } from "../../../i18n/i18n";
import { useStore } from "../../../lib/store";
import { useShortcuts, type Shortcuts } from "../../../shell/shortcuts";
import { LearningFrame } from "../LearningFrame";
import { datasetChanged } from "../queries";
import { textOf, titleOfSample } from "../sample";
import { Counts } from "./Counts";
import { Desk, hindrance, type DeskState } from "./desk";
import { deskApi } from "./deskApi";
import { Guideline } from "./Guideline";
import { OnDesk } from "./OnDesk";

/** Labels one sample at a time by keyboard: 1 approve, 2 correct, 3 reject, 4 skip, u undo. */
export function LabelPage() {
  const t = useT();
  // Shows no message about the role before it is known.
  const permissions = useMe()?.permissions;
  const may = permissions?.includes("dataset:write");
  return (
    <LearningFrame title={t("desk.title")} detail={t("desk.detail")}>
      {may && <Sitting />}
      {permissions === undefined && <SkeletonRows rows={10} />}
      {may === false && <EmptyState title={t("desk.not_allowed")}>{t("desk.not_allowed_detail")}</EmptyState>}
    </LearningFrame>
  );
}

function Sitting() {
  const client = useQueryClient();
  const [desk] = useState(() => new Desk(deskApi));
  const state = useStore(desk);
  const { row, steps } = state;
  // A correction belongs to one sample: the next sample starts without it and accepts keys at once.
  const [begun, setBegun] = useState<{ of: string; text: string } | null>(null);
  const editing = begun && begun.of === row?.id ? begun.text : null;
  const edit = useCallback((text: string | null) => setBegun(row && text !== null ? { of: row.id, text } : null), [row]);
  useEffect(() => desk.start(), [desk]);
  const [none] = useState(steps);
  useEffect(() => {
    if (steps !== none) datasetChanged(client);
  }, [client, steps, none]);
  const keys = useMemo(() => (row ? keysOf(desk, row, edit) : { u: () => void desk.undo() }), [desk, row, edit]);
  // While the user edits a correction, keys pressed on a button must not change the sample.
  useShortcuts(editing === null ? keys : NO_KEYS);
  return (
    <>
      <Counts />
      <div className="desk">
        <div className="stack desk-main">
          <LastStep state={state} waits={editing !== null} onUndo={() => void desk.undo()} />
          {row && state.phase !== "loading" ? (
            <OnDesk desk={desk} row={row} editing={editing} onEdit={edit} keys={keys} />
          ) : (
            <Without state={state} onAgain={() => void desk.again()} />
          )}
        </div>
        <Guideline />
      </div>
    </>
  );
}

const NO_KEYS: Shortcuts = {};

function keysOf(desk: Desk, row: SampleOut, edit: (text: string) => void): Shortcuts {
  return {
    "1": () => {
      if (hindrance(row) === null) void desk.decide({ state: "approved" });
    },
    "2": () => edit(textOf(row)),
    "3": () => void desk.decide({ state: "rejected" }),
    "4": () => void desk.skip(),
    u: () => void desk.undo(),
  };
}

/** The last decision, also announced to screen readers, with an undo button. */
function LastStep({ state: { steps, phase }, waits, onUndo }: { state: DeskState; waits: boolean; onUndo: () => void }) {
  const t = useT();
  const last = steps.at(-1);
  return (
    <div className="spread desk-last">
      <p role="status" className="truncate">
        {last ? t(`desk.did_${last.what}`, { title: titleOfSample(last.row) }) : t("desk.begin")}
      </p>
      <Button
        size="small"
        icon={<Undo2 aria-hidden />}
        disabled={!last || waits || phase === "loading" || phase === "writing"}
        onClick={onUndo}
      >
        {t("common.undo")} <kbd>u</kbd>
      </Button>
    </div>
  );
}

function Without({ state, onAgain }: { state: DeskState; onAgain: () => void }) {
  const t = useT();
  if (state.phase === "failed") return <ErrorState problem={state.problem} onRetry={onAgain} />;
  if (state.phase !== "empty") return <SkeletonRows rows={10} />;
  const skipped = state.skipped.length;
  return (
    <>
      {state.problem && <ErrorState problem={state.problem} compact />}
      <EmptyState
        title={t(skipped > 0 ? "desk.only_skipped" : "desk.empty")}
        action={<Button onClick={onAgain}>{t(skipped > 0 ? "desk.again" : "desk.look_again")}</Button>}
      >
        {skipped > 0 ? t("desk.only_skipped_detail", { count: skipped }) : t("desk.empty_detail")}
      </EmptyState>
    </>
  );
}
