import { useQueryClient } from "@tanstack/react-query";
import { Undo2 } from "lucide-react";
import { useCallback, useEffect, useMemo, useState } from "react";
import type { SampleOut } from "../../../api/types";
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
import { LabelSession, approvalBlocker, type LabelSessionState } from "./labelSession";
import { labelApi } from "./labelApi";
import { Guideline } from "./Guideline";
import { CurrentSample } from "./CurrentSample";

/** Labels one sample at a time by keyboard: 1 approve, 2 correct, 3 reject, 4 skip, u undo. */
export function LabelPage() {
  const t = useT();
  // Shows no message about the role before it is known.
  const permissions = useMe()?.permissions;
  const may = permissions?.includes("dataset:write");
  return (
    <LearningFrame title={t("labelling.title")} detail={t("labelling.detail")}>
      {may && <LabelSamples />}
      {permissions === undefined && <SkeletonRows rows={10} />}
      {may === false && <EmptyState title={t("labelling.not_allowed")}>{t("labelling.not_allowed_detail")}</EmptyState>}
    </LearningFrame>
  );
}

function LabelSamples() {
  const client = useQueryClient();
  const [session] = useState(() => new LabelSession(labelApi));
  const state = useStore(session);
  const { row, steps } = state;
  // A correction belongs to one sample: the next sample starts without it and accepts keys at once.
  const [begun, setBegun] = useState<{ of: string; text: string } | null>(null);
  const editing = begun && begun.of === row?.id ? begun.text : null;
  const edit = useCallback((text: string | null) => setBegun(row && text !== null ? { of: row.id, text } : null), [row]);
  useEffect(() => session.start(), [session]);
  const [none] = useState(steps);
  useEffect(() => {
    if (steps !== none) datasetChanged(client);
  }, [client, steps, none]);
  const keys = useMemo(() => (row ? keysOf(session, row, edit) : { u: () => void session.undo() }), [session, row, edit]);
  // While the user edits a correction, keys pressed on a button must not change the sample.
  useShortcuts(editing === null ? keys : NO_KEYS);
  return (
    <>
      <Counts />
      <div className="labelling">
        <div className="stack labelling-main">
          <LastStep state={state} editing={editing !== null} onUndo={() => void session.undo()} />
          {row && state.phase !== "loading" ? (
            <CurrentSample session={session} row={row} editing={editing} onEdit={edit} keys={keys} />
          ) : (
            <NoSample state={state} onAgain={() => void session.again()} />
          )}
        </div>
        <Guideline />
      </div>
    </>
  );
}

const NO_KEYS: Shortcuts = {};

function keysOf(session: LabelSession, row: SampleOut, edit: (text: string) => void): Shortcuts {
  return {
    "1": () => {
      if (approvalBlocker(row) === null) void session.decide({ state: "approved" });
    },
    "2": () => edit(textOf(row)),
    "3": () => void session.decide({ state: "rejected" }),
    "4": () => void session.skip(),
    u: () => void session.undo(),
  };
}

/** The last decision, also announced to screen readers, with an undo button. */
function LastStep({ state: { steps, phase }, editing, onUndo }: { state: LabelSessionState; editing: boolean; onUndo: () => void }) {
  const t = useT();
  const last = steps.at(-1);
  return (
    <div className="spread labelling-last">
      <p role="status" className="truncate">
        {last ? t(`labelling.did_${last.what}`, { title: titleOfSample(last.row) }) : t("labelling.begin")}
      </p>
      <Button
        size="small"
        icon={<Undo2 aria-hidden />}
        disabled={!last || editing || phase === "loading" || phase === "writing"}
        onClick={onUndo}
      >
        {t("common.undo")} <kbd>u</kbd>
      </Button>
    </div>
  );
}

function NoSample({ state, onAgain }: { state: LabelSessionState; onAgain: () => void }) {
  const t = useT();
  if (state.phase === "failed") return <ErrorState problem={state.problem} onRetry={onAgain} />;
  if (state.phase !== "empty") return <SkeletonRows rows={10} />;
  const skipped = state.skipped.length;
  return (
    <>
      {state.problem && <ErrorState problem={state.problem} compact />}
      <EmptyState
        title={t(skipped > 0 ? "labelling.only_skipped" : "labelling.empty")}
        action={<Button onClick={onAgain}>{t(skipped > 0 ? "labelling.again" : "labelling.look_again")}</Button>}
      >
        {skipped > 0 ? t("labelling.only_skipped_detail", { count: skipped }) : t("labelling.empty_detail")}
      </EmptyState>
    </>
  );
}
