import { Blob as NodeBlob } from "node:buffer"; // jsdom's Blob cannot be read
import { expect, it } from "vitest";
import { Splitter } from "./records";
import { partsOf } from "./upload";

const ROWS = [{ a: 'x"],{' }, { b: ["y\\", { c: "ş\n" }] }, { d: 1 }];

function split(text: string, size: number) {
  const splitter = new Splitter();
  const found = [];
  for (let at = 0; at < text.length; at += size) found.push(...splitter.push(text.slice(at, at + size)));
  return [...found, ...splitter.end()];
}

it.each([1, 2, 7, 1000])("splits lines and arrays in chunks of %i", (size) => {
  for (const end of ["\n", "\r\n", "\r", "\n\n"]) {
    const lines = "\ufeff" + ROWS.map((row) => JSON.stringify(row)).join(end) + end;
    expect(split(lines, size).map(({ text }) => JSON.parse(text))).toEqual(ROWS);
  }
  for (const indent of [undefined, 2]) {
    const array = "\ufeff" + JSON.stringify(ROWS, null, indent);
    expect(split(array, size).map(({ text }) => JSON.parse(text))).toEqual(ROWS);
  }
});

it("reports the line at which a record starts", () => {
  expect(split('{"a":1}\r\n\r\n{"b":2}\n', 3).map(({ line }) => line)).toEqual([1, 3]);
  expect(split('[\n{"a":1},\n\n{"b":\n2}\n]', 3).map(({ line }) => line)).toEqual([2, 4]);
});

it("keeps the complete elements of a truncated array", () => {
  expect(split('[{"a":1},{"b":"}', 4).map(({ text }) => text)).toEqual(['{"a":1}', '{"b":"}']);
});

it("creates parts of bounded size whose shares grow to 1", async () => {
  const row = JSON.stringify({ text: "ş".repeat(100_000) });
  const parts = [];
  const file = new NodeBlob([Array(20).fill(row).join("\n")]) as unknown as Blob;
  for await (const one of partsOf(file)) parts.push(one);
  expect(parts.flatMap(({ part }) => part.map(({ line }) => line))).toEqual(Array.from({ length: 20 }, (_, n) => n + 1));
  expect(parts.every(({ part }) => part.length <= 5)).toBe(true);
  expect(parts.at(-1)?.share).toBe(1);
});

it.each([[0xfc], [0xc5]])("refuses a file with the byte %i, which is not UTF-8", async (byte) => {
  const row = new TextEncoder().encode('{"a": "');
  const file = new NodeBlob([row, new Uint8Array([byte]), '"}\n', new Uint8Array([byte])]) as unknown as Blob;
  await expect(partsOf(file).next()).rejects.toMatchObject({ code: "not_utf8", detail: expect.stringContaining("UTF-8") });
});

it("refuses a file that ends within a character", async () => {
  const file = new NodeBlob(['{"a": 1}\n', new Uint8Array([0xc5])]) as unknown as Blob;
  await expect(partsOf(file).next()).rejects.toMatchObject({ code: "not_utf8" });
});

it("sends no more records per part than a server reports refusals", async () => {
  const parts = [];
  for await (const { part } of partsOf(new NodeBlob(["1\n".repeat(2500)]) as unknown as Blob)) parts.push(part.length);
  expect(parts).toEqual([1000, 1000, 500]);
});
