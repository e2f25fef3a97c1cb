import { useDeferredValue, type ReactNode, type Ref } from "react";
import { useT } from "../i18n/i18n";
import { Field, Textarea } from "./Field";
import { WordDiff } from "./WordDiff";

export interface CorrectionProps {
  /** The rejected answer; null when there was none. */
  faulty: string | null;
  text: string;
  onChange: (text: string) => void;
  /** Called on Ctrl+Enter. */
  onDone: () => void;
  /** Heading of the rejected answer. */
  faultyTitle?: ReactNode;
  /** Ref of the text box, for initial focus. */
  ref?: Ref<HTMLTextAreaElement>;
}

/** Rows for the text plus some space, leaving room for the diff on the same screen. */
function rowsFor(text: string): number {
  const lines = text.split("\n", 20).reduce((sum, line) => sum + 1 + Math.floor(line.length / 90), 0);
  return Math.min(12, Math.max(4, lines + 1));
}

/** An editor for the correction, with a live diff below it. */
export function Correction({ faulty, text, onChange, onDone, faultyTitle, ref }: CorrectionProps) {
  const t = useT();
  const shown = useDeferredValue(text);
  return (
    <div className="stack">
      <Field label={t("label.edit_text")} hint={text === faulty ? t("label.unchanged") : undefined}>
        <Textarea
          ref={ref}
          rows={rowsFor(faulty ?? "")}
          value={text}
          maxLength={500_000}
          className="mono"
          onChange={(event) => onChange(event.target.value)}
          onKeyDown={(event) => {
            if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
            event.preventDefault();
            onDone();
          }}
        />
      </Field>
      <WordDiff
        before={faulty}
        after={shown}
        beforeTitle={faultyTitle ?? t("label.before")}
        afterTitle={t("label.after")}
        missing={t("label.no_answer")}
      />
    </div>
  );
}
