// What a dishonest server shows. Some forgeries need nothing but a text editor, some the log's own key.
import { parseTilePath } from "../../verifier/src/index.js";
import { type Election, sha256 } from "./election.js";

export interface Round { counts: (number | null)[]; eliminated: number | null; exhausted: number; tie_broken: boolean }
export interface Results {
  abstentions: number;
  cells: { cell: number; proof: string | null; size: number }[];
  contests: { blanks: number; counts: number[]; name: string; options: string[]; rounds: Round[] | null; tie_broken: boolean | null; winner: number | null }[];
  election: string;
  format: string;
  status: string;
  votes: number;
}

export const parse = (bytes: Buffer): Results => JSON.parse(bytes.toString()) as Results;

/** RFC 8785, for what these tests write. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(",")}}`;
}

/** results.json with a change. */
export function changed(bytes: Buffer, change: (results: Results) => void): string {
  const results = parse(bytes);
  change(results);
  return canonical(results);
}

/** The proof of a cell, with other text in it. */
export function edit(results: Results, pattern: RegExp, replace: string | ((...found: string[]) => string), cell = 0): void {
  const part = results.cells[cell];
  const before = part?.proof ?? "";
  const after = before.replace(pattern, replace as string);
  if (part === undefined || before === after) throw new Error(`nothing to change: ${pattern}`);
  part.proof = after;
}

/** Moves votes of the first contest between options, in the tally entry of cell 0 and in the sums. */
export function moveVotes(results: Results, votes: number, from = 0, to = 1): void {
  const counts = results.contests[0]?.counts ?? [];
  counts[from] = (counts[from] ?? 0) - votes;
  counts[to] = (counts[to] ?? 0) + votes;
  edit(results, /extra (.*)\n/, (_, text) => {
    const entry = Buffer.from(text ?? "", "base64");
    // Behind the type: batch, time, votes, abstentions, then the first contest's blanks and counts.
    const at = (option: number): number => 1 + 8 * (5 + option);
    entry.writeBigUInt64BE(entry.readBigUInt64BE(at(from)) - BigInt(votes), at(from));
    entry.writeBigUInt64BE(entry.readBigUInt64BE(at(to)) + BigInt(votes), at(to));
    return `extra ${entry.toString("base64")}\n`;
  });
}

/** The root that a proof leads to (RFC 6962 section 2.1.1). */
export function rootOf(proof: string): { root: Buffer; size: number; index: number } {
  const [head = "", note = ""] = [proof.slice(0, proof.indexOf("\n\n")), proof.slice(proof.indexOf("\n\n") + 2)];
  const lines = head.split("\n");
  const extra = Buffer.from((lines[1] ?? "").slice(6), "base64");
  const index = Number((lines[2] ?? "").slice(6));
  const size = Number(note.split("\n")[1]);
  let [hash, at, last] = [sha256(Buffer.concat([Buffer.of(0), extra])), index, size - 1];
  for (const line of lines.slice(3)) {
    const sibling = Buffer.from(line, "base64");
    if (at % 2 === 1 || at === last) {
      hash = sha256(Buffer.concat([Buffer.of(1), sibling, hash]));
      while (at % 2 === 0 && at !== 0) [at, last] = [at >> 1, last >> 1];
    } else {
      hash = sha256(Buffer.concat([Buffer.of(1), hash, sibling]));
    }
    [at, last] = [at >> 1, last >> 1];
  }
  return { root: hash, size, index };
}

/** Signs what cell 0 now proves with the cell's own key: a second history, which only comparing finds. */
export function signAnew(election: Election, results: Results, key: "main" | "spare" = "main"): void {
  const part = results.cells[0];
  if (part?.proof == null) throw new Error("nothing to sign");
  const { root, size } = rootOf(part.proof);
  part.proof = `${part.proof.slice(0, part.proof.indexOf("\n\n"))}\n\n${election.checkpoint("cells/0", size, root, key)}`;
}

/** A log as a server publishes it, of any entries: its tiles and its checkpoint. */
export class Published {
  readonly asked: string[] = [];
  private readonly roots = new Map<string, Buffer>();
  private readonly prefix: string;
  private readonly entries: readonly Uint8Array[];
  /** Signs a tree of so many leaves. */
  private readonly sign: (size: number, root: Buffer) => string;
  /** How many of the entries are shown. */
  size: number;

  constructor(prefix: string, entries: readonly Uint8Array[], sign: (size: number, root: Buffer) => string) {
    [this.prefix, this.entries, this.sign, this.size] = [prefix, entries, sign, entries.length];
  }

  /** RFC 6962, section 2.1. */
  root(start: number, end: number): Buffer {
    const name = `${start}-${end}`;
    let hash = this.roots.get(name);
    if (hash === undefined) {
      const half = 2 ** Math.ceil(Math.log2(end - start) - 1);
      hash = end - start === 1 ? sha256(Buffer.concat([Buffer.of(0), this.entries[start] ?? Buffer.of()])) : sha256(Buffer.concat([Buffer.of(1), this.root(start, start + half), this.root(start + half, end)]));
      this.roots.set(name, hash);
    }
    return hash;
  }

  file(path: string): Buffer | undefined {
    if (!path.startsWith(`${this.prefix}/`)) return undefined;
    const name = path.slice(this.prefix.length + 1);
    this.asked.push(name);
    if (name === "checkpoint") return Buffer.from(this.sign(this.size, this.root(0, this.size)));
    const { level, index, width } = parseTilePath(name);
    const places = Array.from({ length: width }, (_, i) => Number(index) * 256 + i);
    if (level === "entries") return Buffer.concat(places.flatMap((i) => { const entry = this.entries[i] ?? Buffer.of(); return [Buffer.of(entry.length >> 8, entry.length & 255), entry]; }));
    const leaves = 256 ** level;
    return Buffer.concat(places.map((i) => this.root(i * leaves, (i + 1) * leaves)));
  }
}
