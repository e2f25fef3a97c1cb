import { useDeferredValue, type ReactNode, type Ref } from "react";
import { useT } from "../i18n/i18n";
import { Field, Textarea } from "./Field";
import { WordDiff } from "./WordDiff";

export interface CorrectionProps {
  /** The answer to be corrected; null where there was none. */
  faulty: string | null;
  text: string;
  onChange: (text: string) => void;
  /** Ctrl+Enter. */
  onDone: () => void;
  /** What the faulty answer is called above it. */
  faultyTitle?: ReactNode;
  /** Of the text box: it has the focus first. */
  ref?: Ref<HTMLTextAreaElement>;
}

/** Room for the text and a little more, and yet for what it changes below it on the same screen. */
function rowsFor(text: string): number {
  const lines = text.split("\n", 20).reduce((sum, line) => sum + 1 + Math.floor(line.length / 90), 0);
  return Math.min(12, Math.max(4, lines + 1));
}

/** The corrected text, and below it at every moment what it changes: nobody saves a correction unseen. */
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
