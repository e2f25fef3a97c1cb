import { diffLines, diffWordsWithSpace, type ChangeObject } from "diff";

/** A stretch of text that both have, or that one of the two has alone. */
export interface Piece {
  kind: "same" | "removed" | "added";
  text: string;
}

/** Edits after which a search gives up: a page must not stop for a diff. */
const MOST_EDITS = 2000;
const MOST_MS = 200;

/** What two texts share and where they differ: by words; by lines where that takes too long; else replaced whole. */
export function diffWords(before: string, after: string): Piece[] {
  const limits = { maxEditLength: MOST_EDITS, timeout: MOST_MS };
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

/** One of the two texts again, in pieces: of the earlier one what was removed, of the later one what was added. */
export function sideOf(pieces: readonly Piece[], side: "before" | "after"): Piece[] {
  const left = side === "before" ? "added" : "removed";
  return pieces.filter(({ kind }) => kind !== left);
}
