/** A record of a training data file and the line at which it starts. */
export interface FileRecord {
  line: number;
  text: string;
}

/**
 * Splits JSON Lines or one JSON array into records, chunk by chunk. It reads quotes and brackets only; the server
 * validates the records.
 */
export class Splitter {
  private mode: "unknown" | "lines" | "array" | "after" = "unknown";
  private text = "";
  private begin = 1;
  private line = 1;
  private depth = 0;
  private quoted = false;
  private escaped = false;
  private afterReturn = false;

  push(chunk: string): FileRecord[] {
    const found: FileRecord[] = [];
    for (const sign of chunk) this.read(sign, found);
    return found;
  }

  /** Returns the records that remain at the end of the file. */
  end(): FileRecord[] {
    const found: FileRecord[] = [];
    this.emit(found);
    return found;
  }

  private read(sign: string, found: FileRecord[]) {
    const ends = sign === "\r" || (sign === "\n" && !this.afterReturn);
    if (this.mode === "unknown" && sign.trim() !== "" && sign !== "\ufeff") {
      this.mode = sign === "[" ? "array" : "lines";
    }
    if (this.mode === "lines" && (sign === "\n" || sign === "\r")) this.emit(found);
    else if (this.mode === "array") this.readOfArray(sign, found);
    else this.keep(sign);
    if (ends) this.line += 1;
    this.afterReturn = sign === "\r";
  }

  private readOfArray(sign: string, found: FileRecord[]) {
    if (this.quoted) {
      if (sign === '"' && !this.escaped) this.quoted = false;
      this.escaped = sign === "\\" && !this.escaped;
      return this.keep(sign);
    }
    if (sign === '"') this.quoted = true;
    if (sign === "[" || sign === "{") {
      this.depth += 1;
      if (this.depth === 1) return;
    }
    if (sign === "]" || sign === "}") this.depth -= 1;
    if (this.depth === 0) this.mode = "after";
    if (this.depth === 0 || (this.depth === 1 && sign === ",")) return this.emit(found);
    this.keep(sign);
  }

  private keep(sign: string) {
    if (this.text === "") {
      if (sign.trim() === "" || sign === "\ufeff") return;
      this.begin = this.line;
    }
    this.text += sign;
  }

  private emit(found: FileRecord[]) {
    const text = this.text.trimEnd();
    if (text !== "") found.push({ line: this.begin, text });
    this.text = "";
  }
}
