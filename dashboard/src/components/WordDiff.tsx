import { useMemo, type ReactNode } from "react";
import { useT } from "../i18n/i18n";
import { diffWords, sideOf, type Piece } from "../lib/diff";
import "./WordDiff.css";

export interface WordDiffProps {
  /** Null when there is no such text; `missing` explains why. */
  before: string | null;
  after: string | null;
  beforeTitle: ReactNode;
  afterTitle: ReactNode;
  missing: string;
}

/**
 * Two texts side by side, or one below the other on a phone. Differences are struck out or underlined as well as
 * coloured.
 */
export function WordDiff({ before, after, beforeTitle, afterTitle, missing }: WordDiffProps) {
  const pieces = useMemo(() => (before !== null && after !== null ? diffWords(before, after) : null), [before, after]);
  return (
    <div className="worddiff">
      <Side title={beforeTitle} pieces={pieces ? sideOf(pieces, "before") : plain(before)} missing={missing} />
      <Side title={afterTitle} pieces={pieces ? sideOf(pieces, "after") : plain(after)} missing={missing} />
    </div>
  );
}

function plain(text: string | null): Piece[] | null {
  return text === null ? null : [{ kind: "same", text }];
}

function Side({ title, pieces, missing }: { title: ReactNode; pieces: Piece[] | null; missing: string }) {
  const t = useT();
  return (
    <figure className="worddiff-side">
      <figcaption className="worddiff-title">{title}</figcaption>
      {pieces === null ? (
        <p className="worddiff-text muted">{missing}</p>
      ) : (
        // Focusable, so that it can be scrolled with the keyboard.
        <pre className="worddiff-text" tabIndex={0}>
          {pieces.length === 0 ? <span className="muted">{t("diff.empty")}</span> : pieces.map(shown)}
        </pre>
      )}
    </figure>
  );
}

function shown({ kind, text }: Piece, index: number): ReactNode {
  if (kind === "removed") return <del key={index}>{text}</del>;
  if (kind === "added") return <ins key={index}>{text}</ins>;
  return text;
}
