import { type Bytes, concat, fromUtf8, utf8 } from "../src/bytes.js";
import { VerifierError } from "../src/error.js";
import { type Writable, canonicalText } from "../src/json.js";

/** xorshift on 32 bits: the same inputs from the same seed, everywhere. */
export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = Math.imul(seed, 0x9e3779b1) | 1;
  }

  /** Below `end`; 0 where that is 0. */
  below(end: number): number {
    this.state ^= this.state << 13;
    this.state ^= this.state >>> 17;
    this.state ^= this.state << 5;
    return (this.state >>> 0) % Math.max(end, 1);
  }

  pick<T>(of: readonly T[]): T {
    const found = of[this.below(of.length)];
    if (found === undefined) throw new Error("nothing to pick from");
    return found;
  }
}

/** Bytes that mean something somewhere. */
const TELLING = [0x00, 0x01, 0x02, 0x7f, 0x80, 0xff, 0xc3, 0xe2, 0xf0, ...utf8('09"\\\n +/=-.{}[],:eE')];

/** A bit, a byte or a stretch of bytes changed; the rest may be another input's. */
export function stretched(bytes: Bytes, other: Bytes, random: Random): Bytes {
  const at = random.below(bytes.length + 1);
  const end = Math.min(at + random.below(17), bytes.length);
  const [front, middle, rest] = [bytes.subarray(0, at), bytes.subarray(at, end), bytes.subarray(end)];
  const byte = bytes[at];
  const changed = (value: number): Bytes => concat(front, Uint8Array.of(value), bytes.subarray(at + 1));
  switch (random.below(10)) {
    case 0: case 1: case 2: return byte === undefined ? bytes : changed(byte ^ (1 << random.below(8)));
    case 3: return byte === undefined ? bytes : changed(random.pick(TELLING));
    case 4: return byte === undefined ? bytes : changed((byte + 1) & 255);
    case 5: return concat(front, rest);
    case 6: {
      const to = random.below(bytes.length + 1);
      return concat(bytes.subarray(0, to), middle, bytes.subarray(to));
    }
    case 7: return concat(front, Uint8Array.of(random.pick(TELLING)), bytes.subarray(at));
    case 8: return concat(front);
    default: return concat(front, other.subarray(at));
  }
}

type Plain = Record<string, Writable>;

const isObject = (value: Writable): value is Plain => typeof value === "object" && value !== null && !Array.isArray(value);

function parsed(bytes: Bytes): Writable | undefined {
  try {
    return JSON.parse(fromUtf8(bytes)) as Writable;
  } catch {
    return undefined;
  }
}

/** The canonical text of what was made; the bytes as they were where it has none. */
function written(value: Writable, otherwise: Bytes): Bytes {
  try {
    return utf8(canonicalText(value));
  } catch (error) {
    if (error instanceof VerifierError) return otherwise;
    throw error;
  }
}

/** A document with one value changed: it is canonical still, with another meaning. */
export function documented(bytes: Bytes, random: Random): Bytes {
  const value = parsed(bytes);
  if (value === undefined) return bytes;
  const chosen = random.below(count(value));
  let n = -1;
  const walk = (node: Writable): Writable => {
    n += 1;
    if (n === chosen) return changed(node, random);
    if (Array.isArray(node)) return (node as readonly Writable[]).map(walk);
    return isObject(node) ? Object.fromEntries(Object.entries(node).map(([name, member]) => [name, walk(member)])) : node;
  };
  return written(walk(value), bytes);
}

function count(value: Writable): number {
  const below = Array.isArray(value) ? (value as readonly Writable[]) : isObject(value) ? Object.values(value) : [];
  return below.reduce<number>((sum, each) => sum + count(each), 1);
}

function changed(node: Writable, random: Random): Writable {
  const kind = random.below(6);
  if (kind === 4) return null;
  if (kind === 5) return "x";
  if (typeof node === "number") return [Math.max(node - 1, 0), node + 1, 0, Number.MAX_SAFE_INTEGER][kind] ?? 0;
  if (typeof node === "string") {
    const letters = [...node];
    const at = random.below(letters.length);
    letters.splice(at, kind === 2 ? 0 : 1, ...([["a"], [], [letters[at] ?? "b"], ["\u{1fae8}"]][kind] ?? []));
    return letters.join("");
  }
  if (typeof node === "boolean") return !node;
  if (node === null) return 0;
  if (!isObject(node)) {
    const list = [...node];
    const at = random.below(list.length);
    if (kind === 0) return list.filter((_, i) => i !== at);
    if (kind === 1) return [...list.slice(0, at + 1), ...list.slice(at)];
    return kind === 2 ? [...list.slice(1), ...list.slice(0, 1)] : [];
  }
  const name = random.pick(Object.keys(node));
  return kind === 0 ? Object.fromEntries(Object.entries(node).filter(([other]) => other !== name)) : { ...node, [`${name}x`]: null };
}

/** Some members are another document's: each part is right then, and they may not belong together. */
export function exchanged(bytes: Bytes, other: Bytes, random: Random): Bytes {
  const [ours, theirs] = [parsed(bytes), parsed(other)];
  if (ours === undefined || theirs === undefined || !isObject(ours) || !isObject(theirs)) return bytes;
  const out: Plain = { ...ours };
  for (let times = random.below(3); times >= 0; times--) {
    const name = random.pick(Object.keys(theirs));
    const [mine, value] = [out[name] ?? null, theirs[name] ?? null];
    if (isObject(mine) && isObject(value) && random.below(2) === 0) {
      const inner = random.pick(Object.keys(value));
      out[name] = { ...mine, [inner]: value[inner] ?? null };
    } else out[name] = value;
  }
  return written(out, bytes);
}

/** A log's batches: some removed, exchanged, repeated or joined, or an entry of one changed. */
export function rebatched(batches: readonly (readonly Bytes[])[], random: Random): Bytes[][] {
  const out = batches.map((batch) => [...batch]);
  const [at, also] = [random.below(out.length), random.below(out.length)];
  const [batch = [], other = []] = [out[at], out[also]];
  const i = random.below(batch.length);
  const entry = batch[i];
  switch (random.below(9)) {
    case 0: out.splice(at, 1); break;
    case 1: [out[at], out[also]] = [other, batch]; break;
    case 2: out.push([...batch]); break;
    case 3: batch.splice(i, 1); break;
    case 4: if (entry !== undefined) batch.push(entry); break;
    case 5: batch.push(...other); break;
    default: {
      if (entry === undefined) break;
      const place = random.below(entry.length);
      batch[i] = entry.map((byte, n) => (n === place ? byte ^ (1 << random.below(8)) : byte));
    }
  }
  return out;
}

const numbers = /[0-9]+/g;

/** A published tree with some files changed, gone, moved or added. */
export function replanted(files: ReadonlyMap<string, Bytes>, random: Random): Map<string, Bytes | null> {
  const names = [...files.keys()];
  const out = new Map<string, Bytes | null>();
  for (let times = random.below(3); times >= 0; times--) {
    const name = random.pick(names);
    const bytes = files.get(name) ?? new Uint8Array(0);
    const other = random.pick(names);
    switch (random.below(8)) {
      case 0: out.set(name, null); break;
      case 1: out.set(name, files.get(other) ?? null); break;
      // A file beside: another number, of the same kind.
      case 2: case 3: out.set(name.replace(numbers, (digits) => (random.below(2) === 0 ? digits : renumbered(digits, random))), bytes); break;
      case 4: out.set(`${name.slice(0, name.lastIndexOf("/") + 1)}${random.pick(["0", "1", "01", "x", "999", "checkpoint", ".p/1"])}`, bytes); break;
      // All of a log, or of an anchor, from some depth on.
      case 5: {
        const parts = name.split("/");
        const under = `${parts.slice(0, 1 + random.below(parts.length)).join("/")}/`;
        for (const each of names) if (each.startsWith(under)) out.set(each, null);
        break;
      }
      default: out.set(name, stretched(bytes, files.get(other) ?? bytes, random));
    }
  }
  out.delete("manifest.json");
  // A folder cannot stand where a file does.
  const kept = (path: string): boolean => (out.has(path) ? out.get(path) !== null : files.has(path));
  for (const path of [...out.keys()]) {
    const inFile = path.split("/").some((_, i, parts) => i > 0 && kept(parts.slice(0, i).join("/")));
    const overFolder = [...files.keys(), ...out.keys()].some((each) => each.startsWith(`${path}/`));
    if (inFile || overFolder) out.delete(path);
  }
  return out;
}

function renumbered(digits: string, random: Random): string {
  const value = Math.max(0, Number(digits) + random.pick([-1, 1, 1, 2, 7, 100]));
  return digits.length === 3 ? String(value).padStart(3, "0") : String(value);
}
