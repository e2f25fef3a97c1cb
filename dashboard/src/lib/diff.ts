import { diffLines, diffWordsWithSpace, type ChangeObject } from "diff";

/** A part of the texts: common to both, removed or added. */
export interface Piece {
  kind: "same" | "removed" | "added";
  text: string;
}

/** Maximum number of edits before a comparison is abandoned, so that the page does not freeze. */
const MAX_EDITS = 2000;
const MAX_MS = 200;

/** Compares two texts by term, by line where that takes too long, or else as wholly replaced. */
export function diffWords(before: string, after: string): Piece[] {
  const limits = { maxEditLength: MAX_EDITS, timeout: MAX_MS };
  const found = diffWordsWithSpace(before, after, limits) ?? diffLines(before, after, limits);
  return found ? found.map(piece) : replaced(before, after);
}

function piece({ added, removed, value }: ChangeObject<string>): Piece {
  return { kind: added ? "added" : removed ? "removed" : "same", text: value };
}

function replaced(before: string, after: string): Piece[] {
  const pieces: Piece[] = [
    { kind: "removed", text: before },
    { kind: "added", text: after },
  ];
  return pieces.filter(({ text }) => text !== "");
}

/** The parts of one of the two texts: the earlier with removed parts, or the later with added parts. */
export function sideOf(pieces: readonly Piece[], side: "before" | "after"): Piece[] {
  const left = side === "before" ? "added" : "removed";
  return pieces.filter(({ kind }) => kind !== left);
}
