import { type Bytes, equal, fromDecimal } from "./bytes.js";
import { CellLog } from "./cell-log.js";
import { EMPTY_ROOT, type TreeHead, parseBody } from "./checkpoint.js";
import { type Entry, parseEntry, voteFault } from "./entry.js";
import { VerifierError } from "./error.js";
import { type Batch, parseBatch } from "./files.js";
import type { LogGrammar } from "./grammar.js";
import { HeadsLog } from "./heads-log.js";
import { IssuanceLog } from "./issuance-log.js";
import { type LogId, keysOf, originOf, prefixOf, sameLog } from "./logs.js";
import type { Manifest } from "./manifest.js";
import { CompactRange, leafHash, perfectRoot } from "./merkle.js";
import { logKey, parseNote, verifyLine } from "./note.js";
import { type Tile, encodeBundle, newTiles, parseTilePath, tilePath } from "./tiles.js";

/** Something that is wrong, by its code of section 16, and where. */
export interface Finding { readonly code: string; readonly place: string; readonly message: string }

/** A published tree: names below the election's folder, and contents. */
export type Tree = ReadonlyMap<string, Bytes>;

/** Collects findings. */
export class Findings {
  readonly list: Finding[] = [];

  add(code: string, place: string, message: string): void {
    if (!this.list.some((other) => other.code === code && other.place === place && other.message === message)) this.list.push({ code, place, message });
  }

  /** Runs a check whose refusal is a finding of `code`. Gives undefined then. */
  async check<T>(code: string, place: string, action: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof VerifierError)) throw error;
      this.add(code, place, error.message);
      return undefined;
    }
  }
}

/** The codes of section 16 for the rules of `grammar.json`. */
const CODES: ReadonlyMap<string, string> = new Map([
  ["batch-number", "batch-foreign"], ["malformed", "entry-malformed"], ["genesis", "genesis-wrong"], ["order", "grammar-broken"],
  ["after-end", "grammar-broken"], ["unsorted", "batch-order"], ["wrong-cell", "vote-wrong-cell"], ["duplicate-vote", "vote-duplicate"],
  ["tally-batch", "tally-wrong"], ["tally-sum", "tally-wrong"], ["time-grain", "time-backwards"], ["count-falls", "count-wrong"],
  ["off-roll", "issuance-out-of-roll"], ["wrong-shard", "issuance-out-of-roll"], ["duplicate-issuance", "issuance-duplicate"],
  ["size-falls", "head-falls"], ["fork", "head-root"], ["stale", "head-stale"], ["reopened", "head-reopened"], ["early-final", "final-head-early"],
  ["notice-sequence", "notice-invalid"], ["notice", "notice-invalid"], ["issuance-open", "issuance-closed-late"],
]);

/** The code of a broken rule, in a log and at an entry of some type. */
export function codeOf(rule: string, log: LogId, type: Entry["type"] | undefined): string {
  if (rule === "time-falls") return log.kind === "heads" ? "head-falls" : "time-backwards";
  if (rule === "wrong-count") return type === "close" ? "close-wrong" : "count-wrong";
  return CODES.get(rule) ?? rule;
}

/** A log as its batches tell it. */
export interface ReadLog {
  readonly id: LogId;
  readonly entries: readonly Bytes[];
  readonly leaves: readonly Bytes[];
  /** The roots at the batch ends. */
  readonly ends: ReadonlyMap<bigint, Bytes>;
  /** How many votes or issuances stand below each size. */
  readonly counts: readonly number[];
  readonly grammar: LogGrammar;
  /** Whether its batches cannot be read on: nothing that lies behind is judged then. */
  readonly broken: boolean;
  /** The newest checkpoint, if one of the log's keys signed it. */
  readonly newest: TreeHead | undefined;
  /** How far the log counts: to its newest checkpoint. */
  readonly reach: bigint;
}

async function grammarOf(manifest: Manifest, log: LogId): Promise<LogGrammar> {
  if (log.kind === "cell") return new CellLog(manifest, log.cell);
  return log.kind === "issuance" ? new IssuanceLog(manifest, log.registrar, log.shard) : HeadsLog.of(manifest);
}

/** Reads a log's batches as far as they chain, and judges its entries. */
export async function readLog(manifest: Manifest, id: LogId, tree: Tree, findings: Findings): Promise<ReadLog> {
  const prefix = prefixOf(id);
  const grammar = await grammarOf(manifest, id);
  const [entries, leaves]: [Bytes[], Bytes[]] = [[], []];
  const ends = new Map<bigint, Bytes>();
  const counts = [0];
  let range = new CompactRange();
  let root = EMPTY_ROOT;
  let judged = true;
  let broken = false;
  for (let number = 0n; !broken && tree.has(`${prefix}/batches/${number}`); number++) {
    const place = `${prefix}/batches/${number}`;
    const batch = await findings.check("batch-malformed", place, () => parseBatch(tree.get(place) ?? EMPTY_ROOT, manifest));
    broken = true;
    if (batch === undefined) break;
    if (!sameLog(batch.log, id) || batch.number !== number) {
      findings.add("batch-foreign", place, "of another log or number");
      break;
    }
    const added = await Promise.all(batch.entries.map(leafHash));
    const grown = range.copy();
    for (const leaf of added) await grown.append(leaf);
    const next = await grown.root();
    if (batch.oldSize !== BigInt(leaves.length) || !equal(batch.oldRoot, root) || !equal(batch.newRoot, next)) {
      findings.add("batch-chain", place, "does not continue the one before, or its entries make another root");
      break;
    }
    broken = false;
    if (judged) judged = await judge(manifest, id, grammar, batch, place, findings);
    for (const [i, entry] of batch.entries.entries()) {
      const type = decode(entry, manifest)?.type;
      counts.push((counts.at(-1) ?? 0) + (type === "vote" || type === "issuance" ? 1 : 0));
      entries.push(entry);
      leaves.push(added[i] ?? EMPTY_ROOT);
    }
    range = grown;
    ends.set(batch.newSize, next);
    root = next;
  }
  const after = [...tree.keys()].some((path) => path.startsWith(`${prefix}/batches/`) && isAbove(path.slice(`${prefix}/batches/`.length), BigInt(ends.size)));
  if (!broken && after) {
    findings.add("missing-file", `${prefix}/batches/${ends.size}`, "not there, and later ones are");
    broken = true;
  }
  const newest = await readNewest(manifest, id, tree);
  // "Where a log's `checkpoint` is there and cannot be believed …, it counts as far as its batches go."
  const reach = newest?.size ?? (tree.has(`${prefix}/checkpoint`) ? BigInt(leaves.length) : 0n);
  return { id, entries, leaves, ends, counts, grammar, broken, newest, reach };
}

async function readNewest(manifest: Manifest, id: LogId, tree: Tree): Promise<TreeHead | undefined> {
  try {
    const [note, origin, keys] = [parseNote(tree.get(`${prefixOf(id)}/checkpoint`) ?? EMPTY_ROOT), originOf(manifest, id), keysOf(manifest, id)];
    const head = parseBody(note.text, origin);
    const [line] = note.signatures;
    for (const key of [keys.main, keys.spare]) if (line !== undefined && (await verifyLine(note.text, line, await logKey(origin, key)))) return head;
  } catch {
    // What is wrong with it, the judgement of the files says.
  }
  return undefined;
}

async function judge(manifest: Manifest, id: LogId, grammar: LogGrammar, batch: Batch, place: string, findings: Findings): Promise<boolean> {
  for (const bytes of batch.entries) {
    const entry = decode(bytes, manifest);
    const fault = entry?.type === "vote" ? await voteFault(entry, manifest) : undefined;
    if (fault !== undefined) findings.add(fault, place, "a vote whose key or signatures do not hold");
  }
  try {
    await grammar.batch(batch.entries);
    return true;
  } catch (error) {
    if (!(error instanceof VerifierError)) throw error;
    const at = Number((error.index ?? batch.oldSize) - batch.oldSize);
    findings.add(codeOf(error.code, id, decode(batch.entries[at] ?? EMPTY_ROOT, manifest)?.type), place, error.message);
    return false;
  }
}

/** The entry, or undefined where it is none. */
export function decode(bytes: Bytes, manifest: Manifest): Entry | undefined {
  try {
    return parseEntry(bytes, manifest);
  } catch {
    return undefined;
  }
}

/** Above which size the log's spare signs, by the heads log's notices. */
export type Switches = ReadonlyMap<string, bigint>;

/** Judges a log's checkpoints, tiles and bundles. `named`: the sizes whose checkpoints must be there. */
export async function judgeFiles(manifest: Manifest, log: ReadLog, tree: Tree, switches: Switches, named: ReadonlySet<bigint>, findings: Findings): Promise<void> {
  const prefix = prefixOf(log.id);
  const current = tree.get(`${prefix}/checkpoint`);
  for (const [path, bytes] of tree) {
    const size = path.startsWith(`${prefix}/checkpoints/`) ? path.slice(prefix.length + "/checkpoints/".length) : undefined;
    if (size === undefined && path !== `${prefix}/checkpoint`) continue;
    await judgeCheckpoint(manifest, log, path, bytes, size, switches, findings);
  }
  const needed = new Set([...named, ...(log.newest === undefined ? [] : [log.newest.size])]);
  for (const size of needed) {
    const path = `${prefix}/checkpoints/${size}`;
    if (!tree.has(path) && log.ends.has(size)) findings.add("missing-file", path, "not there");
  }
  await judgeTiles(log, tree, findings);
  if (current === undefined) {
    // A log that has published nothing needs no file, unless somebody speaks of it.
    if (named.size > 0 || log.ends.size > 0) findings.add("missing-file", `${prefix}/checkpoint`, "not there");
    return;
  }
  const same = log.newest && tree.get(`${prefix}/checkpoints/${log.newest.size}`);
  const differs = log.newest === undefined ? true : same !== undefined && !equal(same, current);
  if (differs) findings.add("checkpoint-differs", `${prefix}/checkpoint`, "not the file of its size");
  const largest = [...named].reduce((a, b) => (a > b ? a : b), 0n);
  if (log.newest && log.newest.size < largest) findings.add("checkpoint-rollback", `${prefix}/checkpoint`, `smaller than ${largest}, which is named`);
}

async function judgeCheckpoint(manifest: Manifest, log: ReadLog, path: string, bytes: Bytes, size: string | undefined, switches: Switches, findings: Findings): Promise<void> {
  const origin = originOf(manifest, log.id);
  const read = await findings.check("checkpoint-malformed", path, () => {
    const note = parseNote(bytes);
    return { note, head: parseBody(note.text, origin) };
  });
  if (read === undefined) return;
  const { note, head } = read;
  if (note.signatures.length !== 1) findings.add("checkpoint-extra-line", path, "not exactly one line");
  const above = switches.get(prefixOf(log.id));
  const keys = keysOf(manifest, log.id);
  const key = await logKey(origin, above !== undefined && head.size > above ? keys.spare : keys.main);
  const signed = await Promise.all(note.signatures.map((line) => verifyLine(note.text, line, key)));
  if (!signed.includes(true)) findings.add("checkpoint-signature", path, "not signed by the key that must sign it");
  const last = BigInt(log.leaves.length);
  if (size !== undefined && size !== String(head.size)) {
    findings.add("checkpoint-place", path, "another size than its name's");
    // Judged no further, unless both lie beyond all batches.
    if (!/^[1-9][0-9]{0,19}$/.test(size) || BigInt(size) <= last || head.size <= last) return;
  }
  const end = log.ends.get(head.size);
  if (end !== undefined && !equal(end, head.root)) findings.add("checkpoint-root", path, "another root than the entries have");
  if (end === undefined && head.size <= last) findings.add("checkpoint-place", path, "no batch ends there");
  // Beyond all batches: what it speaks of was published once, or never.
  if (end === undefined && !log.broken && head.size > last) findings.add("checkpoint-rollback", path, "beyond all batches");
}

/** What a tile or bundle must hold. */
async function contentOf(log: ReadLog, { level, index, width }: Tile): Promise<Bytes | undefined> {
  const span = level === "entries" ? 1 : 256 ** level;
  const start = Number(index) * 256 * span;
  if (start + width * span > log.leaves.length) return undefined;
  if (level === "entries") return encodeBundle(log.entries.slice(start, start + width));
  const roots = await Promise.all(Array.from({ length: width }, (_, i) => perfectRoot(log.leaves.slice(start + i * span, start + (i + 1) * span))));
  const out = new Uint8Array(32 * width);
  roots.forEach((root, i) => out.set(root, 32 * i));
  return out;
}

/** Every tile and bundle that is there must be right, and those of the newest checkpoint must be there. */
async function judgeTiles(log: ReadLog, tree: Tree, findings: Findings): Promise<void> {
  const prefix = prefixOf(log.id);
  for (const [path, bytes] of tree) {
    if (!path.startsWith(`${prefix}/tile/`)) continue;
    const tile = await findings.check("foreign-file", path, () => parseTilePath(path.slice(prefix.length + 1)));
    if (tile === undefined) continue;
    const right = await contentOf(log, tile);
    if (right === undefined) {
      // Behind a batch that cannot be read on, nobody can say what it must hold.
      if (!log.broken) findings.add("foreign-file", path, "of no tree that the batches make");
    } else if (!equal(right, bytes)) findings.add(tile.level === "entries" ? "bundle-mismatch" : "tile-mismatch", path, "not what the entries make");
  }
  if (log.newest === undefined || log.newest.size > BigInt(log.leaves.length)) return;
  const { tiles, bundles } = newTiles(0n, log.newest.size);
  for (const tile of [...tiles, ...bundles]) {
    const path = `${prefix}/${tilePath(tile)}`;
    // Where the full one exists, the partial one need not.
    if (!tree.has(path) && !tree.has(path.replace(/\.p\/[0-9]+$/, ""))) findings.add("missing-file", path, "not there");
  }
}

/** Whether the election can publish a file of this name. */
export function isOwnFile(manifest: Manifest, prefixes: readonly string[], path: string): boolean {
  if (path === "manifest.json" || path === "results.json") return true;
  const anchor = /^anchors\/([a-z0-9-]+)\/(.+)$/.exec(path);
  if (anchor !== null) return manifest.anchors.includes(anchor[1] ?? "") && isDecimal(anchor[2] ?? "");
  const prefix = prefixes.find((own) => path.startsWith(`${own}/`));
  if (prefix === undefined) return false;
  const name = path.slice(prefix.length + 1);
  const numbered = /^(checkpoints|batches|cosigned)\/(.+)$/.exec(name);
  if (numbered !== null) {
    const cosigned = numbered[1] === "cosigned";
    return isDecimal(numbered[2] ?? "") && (!cosigned || (prefix === "heads" && manifest.witnesses.keys.length > 0));
  }
  return name === "checkpoint" || name.startsWith("tile/");
}

/** Whether a file's name is a decimal from `number` up. */
export function isAbove(text: string, number: bigint): boolean {
  return isDecimal(text) && fromDecimal(text) >= number;
}

function isDecimal(text: string): boolean {
  try {
    fromDecimal(text);
    return true;
  } catch {
    return false;
  }
}
