import { api, ok } from "../../../api/client";
import type { ImportedOut } from "../../../api/types";
import { Problem, UNREACHABLE } from "../../../api/problem";
import { Splitter, type FileRecord } from "./records";

/** Half of the default `server.body_limit_bytes`. A part that a server refuses as too large is halved. */
const PART_BYTES = 1024 * 1024;
/** The maximum number of refused records that a server reports per request. */
const PART_ROWS = 1000;
const CHUNK_BYTES = 1024 * 1024;
const TRIES = 6;
const LONGEST_WAIT_MS = 8000;

export type Report = ImportedOut;

export interface Uploading {
  approve: boolean;
  signal: AbortSignal;
  /** Share of the file that was sent, from 0 to 1. */
  onProgress: (share: number, report: Report) => void;
}

/** Imports a file in parts. Existing samples do not change, so the file can be sent again after an interruption. */
export async function upload(file: Blob, { approve, signal, onProgress }: Uploading): Promise<Report> {
  const report: Report = { rows: 0, new: 0, updated: 0, unchanged: 0, refused: 0, refusals: [] };
  for await (const { part, share } of partsOf(file)) {
    await sendPart(part, report, approve, signal);
    onProgress(share, report);
  }
  return report;
}

/** Code of the problem of a file that is not UTF-8. The error view has its own text for it. */
const NOT_UTF8 = "not_utf8";

export async function* partsOf(file: Blob): AsyncGenerator<{ part: FileRecord[]; share: number }> {
  const splitter = new Splitter();
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });
  let part: FileRecord[] = [];
  let bytes = 0;
  for (let at = 0; at < file.size; at += CHUNK_BYTES) {
    const chunk = await file.slice(at, at + CHUNK_BYTES).arrayBuffer();
    const last = at + CHUNK_BYTES >= file.size;
    const found = splitter.push(decoded(decoder, chunk, last));
    if (last) found.push(...splitter.end());
    for (const record of found) {
      const size = bytesOf(record.text) + 1;
      if (part.length > 0 && (part.length === PART_ROWS || bytes + size > PART_BYTES)) {
        yield { part, share: at / file.size };
        part = [];
        bytes = 0;
      }
      part.push(record);
      bytes += size;
    }
  }
  if (part.length > 0) yield { part, share: 1 };
}

function decoded(decoder: TextDecoder, chunk: ArrayBuffer, last: boolean): string {
  try {
    return decoder.decode(chunk, { stream: !last });
  } catch {
    const detail = "The file is not UTF-8 text. Save it as UTF-8 and import it again.";
    throw new Problem({ title: "The file is not UTF-8", status: 0, code: NOT_UTF8, detail });
  }
}

async function sendPart(part: FileRecord[], report: Report, approve: boolean, signal: AbortSignal): Promise<void> {
  const sent: FileRecord[] = [];
  const lines: string[] = [];
  for (const record of part) {
    const line = onOneLine(record.text);
    if (line === null) refuse(report, record, "it is not JSON");
    else {
      sent.push(record);
      lines.push(line);
    }
  }
  if (sent.length === 0) return;
  try {
    add(report, sent, await withRetries(() => send(lines, approve, signal), signal));
  } catch (error) {
    if (!(error instanceof Problem) || error.status !== 413) throw error;
    const [only] = sent;
    if (sent.length === 1 && only) return refuse(report, only, error.detail);
    const middle = sent.length >> 1;
    await sendPart(sent.slice(0, middle), report, approve, signal);
    await sendPart(sent.slice(middle), report, approve, signal);
  }
}

function send(lines: string[], approve: boolean, signal: AbortSignal): Promise<ImportedOut> {
  const headers = { "content-type": "application/jsonl" };
  const params = { query: { approve } };
  const body = lines.join("\n");
  return ok(api.POST("/api/dataset/import", { params, body, bodySerializer: (text) => text, headers, signal }));
}

/**
 * Joins lines: line ends between JSON values have no meaning. Returns null for an invalid record, where a line end may
 * be part of it.
 */
function onOneLine(text: string): string | null {
  if (!/[\r\n]/.test(text)) return text;
  try {
    JSON.parse(text);
  } catch {
    return null;
  }
  return text.replace(/[\r\n]/g, " ");
}

async function withRetries<T>(request: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let number = 1; ; number += 1) {
    try {
      return await request();
    } catch (error) {
      if (number === TRIES || !passes(error)) throw error;
    }
    await pause(Math.min(LONGEST_WAIT_MS, 500 * 2 ** number) * (0.5 + Math.random() / 2), signal);
  }
}

function passes(error: unknown): boolean {
  if (!(error instanceof Problem)) return false;
  return error.code === "import_running" || error.code === UNREACHABLE || error.status === 429 || error.status === 503;
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

function add(report: Report, sent: FileRecord[], answer: ImportedOut) {
  for (const name of ["rows", "new", "updated", "unchanged", "refused"] as const) report[name] += answer[name];
  for (const one of answer.refusals) {
    report.refusals.push({ ...one, line: sent[one.line - 1]?.line ?? one.line });
  }
}

function refuse(report: Report, record: FileRecord, reason: string) {
  report.rows += 1;
  report.refused += 1;
  report.refusals.push({ line: record.line, reason });
}

function bytesOf(text: string): number {
  return new Blob([text]).size;
}
