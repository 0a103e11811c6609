import { type Bytes, type Manifest, VerifierError, parseBundle, parseEntry, recountStretch, stretchFiles, tilePath, utf8 } from "../../../verifier/src/index.js";
import type { History, NotRecounted, Point, Recount, RecountFailed, Recounted } from "../messages.js";
import { type Source, TooLong, Unreachable } from "./source.js";

const [TALLY, CLOSE] = [3, 4];

/** The bundles of a log that are read to find where batches end. What they hold is not proven yet. */
class Bundles {
  readonly read = new Map<number, readonly Bytes[]>();
  private readonly source: Source;
  private readonly prefix: string;
  private readonly size: number;
  private readonly maxBytes: number;
  private readonly cache: "default" | "reload";

  /** `maxBytes`: how many the source may have read in all, with the last bundle. */
  constructor(source: Source, prefix: string, size: number, maxBytes: number, cache: "default" | "reload" = "default") {
    this.source = source;
    this.prefix = prefix;
    this.size = size;
    this.maxBytes = maxBytes;
    this.cache = cache;
  }

  async at(number: number): Promise<readonly Bytes[]> {
    const known = this.read.get(number);
    if (known !== undefined) return known;
    const left = this.maxBytes - this.source.bytes;
    if (left <= 0) throw new TooLong("more than may be read");
    const width = Math.min(256, this.size - 256 * number);
    const entries = parseBundle(await this.source.tile(this.prefix, tilePath({ level: "entries", index: BigInt(number), width }), this.cache, left), width);
    this.read.set(number, entries);
    return entries;
  }

  async type(index: number): Promise<number> {
    return (await this.at(Math.floor(index / 256)))[index % 256]?.[0] ?? 0;
  }
}

/**
 * The stretch around an entry: from the tally before it to the tally (or close) that ends its batch, and whole batches before and behind it from the bundles
 * that had to be read anyway.
 */
async function stretchAround(bundles: Bundles, index: number, size: number, maxVotes: number): Promise<{ start: number; end: number }> {
  let start = index - 1;
  for (; start > 0 && (await bundles.type(start)) !== TALLY; start--) if (index - start > maxVotes) throw new TooLong("a longer piece than may be read");
  let last = index;
  for (; !ends(await bundles.type(last)); last++) if (last + 1 >= size || last - start > maxVotes) throw new TooLong("a longer piece than may be read");
  const have = (at: number): boolean => bundles.read.has(Math.floor(at / 256));
  for (let at = start - 1; at >= 0 && have(at) && last - at <= maxVotes; at--) if (at === 0 || (await bundles.type(at)) === TALLY) start = at;
  for (let at = last + 1; at < size && have(at) && at - start <= maxVotes; at++) if (ends(await bundles.type(at))) last = at;
  return { start, end: last + 1 };
}

const ends = (type: number): boolean => type === TALLY || type === CLOSE;

/** A number below `limit`, which is at most 2^53, each as likely as any other, or nearly so. */
export function random(limit: number): number {
  const [high = 0, low = 0] = crypto.getRandomValues(new Uint32Array(2));
  return Math.floor((((high % 2 ** 21) * 2 ** 32 + low) / 2 ** 53) * limit);
}

/** Recounts a random stretch, every entry of a cell being as likely to lie in it as any other that begins one. */
export async function recount(source: Source, manifest: Manifest, request: Recount): Promise<Recounted | NotRecounted | RecountFailed> {
  const begun = performance.now();
  const before = source.bytes;
  const total = request.cells.reduce((sum, { size }) => sum + Math.max(size - 1, 0), 0);
  if (total === 0) return { kind: "not-recounted", why: "empty" };
  let left = random(total);
  let cell = 0;
  for (; left >= Math.max((request.cells[cell]?.size ?? 0) - 1, 0); cell++) left -= Math.max((request.cells[cell]?.size ?? 0) - 1, 0);
  const { size = 0, note } = request.cells[cell] ?? {};
  if (note === undefined) return { kind: "not-recounted", why: "empty" };
  const prefix = `cells/${cell}`;
  const count = async (cache: "default" | "reload"): Promise<Omit<Recounted, "bytes" | "ms">> => {
    const bundles = new Bundles(source, prefix, size, source.bytes + request.maxBytes, cache);
    const { start, end } = await stretchAround(bundles, left + 1, size, request.maxVotes);
    const files = await source.tiles(prefix, stretchFiles(BigInt(size), BigInt(start), BigInt(end)), cache, request.maxBytes);
    const { votes } = await recountStretch(manifest, cell, utf8(note), files, BigInt(start), BigInt(end));
    return { kind: "recounted", cell, from: start, to: end, votes: Number(votes), size };
  };
  try {
    const counted = await count("default").catch((error: unknown) => {
      // What was damaged on its way is asked for once more: all of it, for where the piece begins and ends was read there too.
      if (!(error instanceof VerifierError)) throw error;
      return count("reload");
    });
    return { ...counted, bytes: source.bytes - before, ms: performance.now() - begun };
  } catch (error) {
    if (error instanceof TooLong) return { kind: "not-recounted", why: "long" };
    if (error instanceof Unreachable) return { kind: "not-recounted", why: "unreachable" };
    if (!(error instanceof VerifierError)) throw error;
    const at = error.index === undefined ? "" : `, entry ${error.index}`;
    return { kind: "recount-failed", finding: { id: "recount", at: Date.now(), cell, detail: `cell ${cell}${at}: ${error.code}: ${error.message}` } };
  }
}

/**
 * Points of the past: tally entries in bundles that lie evenly in each cell's log. Entries are read, not proven: their votes must rise with their places, and a
 * picture is all that is made of them. Recounting proves such entries.
 */
export async function sample(source: Source, manifest: Manifest, request: Recount): Promise<History> {
  const before = source.bytes;
  const points: Point[][] = request.cells.map(() => []);
  const each = Math.max(1, Math.floor(24 / Math.max(request.cells.length, 1)));
  for (const [cell, { size }] of request.cells.entries()) {
    const last = Math.floor((size - 1) / 256);
    const numbers = new Set(Array.from({ length: each }, (_, i) => Math.round((last * i) / Math.max(each - 1, 1))));
    const bundles = new Bundles(source, `cells/${cell}`, size, before + request.maxBytes);
    for (const number of size > 1 ? numbers : []) {
      try {
        for (const bytes of await bundles.at(number)) {
          const entry = bytes[0] === TALLY ? parseEntry(bytes, manifest) : undefined;
          if (entry?.type === "tally") points[cell]?.push([Number(entry.time), Number(entry.sums.votes)]);
        }
      } catch (error) {
        if (!(error instanceof TooLong || error instanceof Unreachable || error instanceof VerifierError)) throw error;
      }
    }
  }
  return { kind: "history", points: points.map(rising), bytes: source.bytes - before };
}

function rising(points: readonly Point[]): Point[] {
  const out: Point[] = [];
  for (const point of points) {
    const last = out.at(-1);
    if (last === undefined || (point[0] >= last[0] && point[1] > last[1])) out.push(point);
  }
  return out;
}

