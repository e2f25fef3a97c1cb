import { expect, it } from "vitest";
import { diffWords, sideOf, type Piece } from "./diff";

const shown = (pieces: Piece[]) => pieces.map(({ kind, text }) => ({ same: "", removed: "-", added: "+" })[kind] + text);
const texts = (pieces: Piece[]) =>
  (["before", "after"] as const).map((side) => sideOf(pieces, side).map(({ text }) => text).join(""));

it("marks changed terms between unchanged ones", () => {
  expect(shown(diffWords("the red car", "the blue car"))).toEqual(["the ", "-red", "+blue", " car"]);
  expect(shown(diffWords("same", "same"))).toEqual(["same"]);
  expect(shown(diffWords("", "new"))).toEqual(["+new"]);
});

it("includes white space, which matters in code", () => {
  expect(shown(diffWords("if a:\n  b", "if a:\n    b"))).toEqual(["if a:\n", "-  ", "+    ", "b"]);
});

it("reproduces both texts, for few edits and for many", () => {
  let seed = 7;
  const random = (below: number) => (seed = (seed * 48_271) % 2_147_483_647) % below;
  for (let round = 0; round < 200; round += 1) {
    const text = () => Array.from({ length: random(12) }, () => ["a", "bc", "\n", "ü."][random(4)]).join(" ");
    const [before, after] = [text(), text()];
    expect(texts(diffWords(before, after))).toEqual([before, after]);
  }
});

it("compares lines when there are too many terms", () => {
  const lines = (name: string) => Array.from({ length: 300 }, (_, n) => Array.from({ length: 8 }, (_, m) => `${name}${n}-${m}`).join(" "));
  const [before, after] = [[...lines("a"), "shared"].join("\n"), [...lines("b"), "shared"].join("\n")];
  expect(diffWords(before, after).at(-1)).toEqual({ kind: "same", text: "shared" });
});

it("gives up on two long texts that share nothing", () => {
  const lineOfTerms = (name: string) => Array.from({ length: 20_000 }, (_, n) => `${name}${n}`).join(" ");
  const [before, after] = [lineOfTerms("a"), lineOfTerms("b")];
  const began = performance.now();
  expect(texts(diffWords(before, after))).toEqual([before, after]);
  expect(performance.now() - began).toBeLessThan(3000);
});
