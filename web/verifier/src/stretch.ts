import { type Bytes, equal } from "./bytes.js";
import { CellLog } from "./cell-log.js";
import { type Checkpoint, type TreeHead, openCheckpoint } from "./checkpoint.js";
import { type Sums, parseEntry, voteFault } from "./entry.js";
import { VerifierError, fail } from "./error.js";
import { type LogId, keysOf, originOf } from "./logs.js";
import type { Manifest } from "./manifest.js";
import { leafHash } from "./merkle.js";
import { FULL, type Tile, authenticateTiles, inclusionTiles, parseBundle, parseTilePath, tilePath } from "./tiles.js";

/** The most entries of a stretch: a few of the longest batches. */
export const MAX_STRETCH = 1n << 17n;
/** How many votes' signatures are checked at a time. */
const TOGETHER = 64;

const TALLY = 3;
const CLOSE = 4;

/** Published files, by their names below the cell's prefix. */
export type Files = ReadonlyMap<string, Bytes>;

/** What was recounted. */
export interface Stretch {
  readonly checkpoint: Checkpoint;
  readonly votes: bigint;
  readonly before: Sums;
  readonly after: Sums;
}

/** The names of the tiles and bundles from which the entries from `start` to `end` - 1 are read and proven, in a log of `size` entries. */
export function stretchFiles(size: bigint, start: bigint, end: bigint): string[] {
  checkRange(size, start, end);
  const names = new Set<string>();
  for (let index = start - (start % 256n); index < end; index += 256n) {
    for (const tile of inclusionTiles(index, size)) names.add(tilePath(tile));
    names.add(tilePath(bundleOf(index, size)));
  }
  return [...names];
}

function checkRange(size: bigint, start: bigint, end: bigint): void {
  if (start < 0n || start >= end || end > size) fail("stretch", "not a stretch of the log");
  if (end - start > MAX_STRETCH) fail("stretch", "too long a stretch");
}

function bundleOf(position: bigint, size: bigint): Tile {
  const index = position / 256n;
  const left = size - index * 256n;
  return { level: "entries", index, width: left >= 256n ? FULL : Number(left) };
}

/** The entries from `start` to `end` - 1, each proven to be the log's at its index. */
export async function provenEntries(checkpoint: TreeHead, files: Files, start: bigint, end: bigint): Promise<Bytes[]> {
  checkRange(checkpoint.size, start, end);
  const tiles = new Map([...files].filter(([path]) => parseTilePath(path).level !== "entries"));
  const proven = await authenticateTiles(checkpoint, tiles);
  const out: Bytes[] = [];
  for (let first = start - (start % 256n); first < end; first += 256n) {
    const bundle = bundleOf(first, checkpoint.size);
    const path = tilePath(bundle);
    const entries = parseBundle(files.get(path) ?? fail("stretch", `${path} is needed`), bundle.width);
    const leaves = proven.get(tilePath({ ...bundle, level: 0 })) ?? fail("stretch", `the hashes of ${path} are needed`);
    for (const [i, entry] of entries.entries()) {
      const index = first + BigInt(i);
      if (index < start || index >= end) continue;
      const leaf = leaves[i];
      if (leaf === undefined || !equal(leaf, await leafHash(entry))) fail("stretch", "an entry that is not the log's", index);
      out.push(entry);
    }
  }
  return out;
}

/**
 * Recounts a stretch of a cell's log: from the tally (or genesis) at `start` to the tally (or close) at `end` - 1. Every entry is proven against the
 * checkpoint; order, cells, signatures, sums and times are checked as in an audit. What it cannot find: a credential that voted both inside and outside of it.
 */
export async function recountStretch(manifest: Manifest, cell: number, note: Bytes, files: Files, start: bigint, end: bigint): Promise<Stretch> {
  const log: LogId = { kind: "cell", cell };
  const checkpoint = await openCheckpoint(note, originOf(manifest, log), keysOf(manifest, log));
  const [first, ...entries] = await provenEntries(checkpoint, files, start, end);
  if (first === undefined) return fail("stretch", "an empty stretch");
  const reading = await begin(manifest, cell, first, start);
  const before = reading.sums();
  let batch: Bytes[] = [];
  for (const entry of entries) {
    batch.push(entry);
    if (entry[0] !== TALLY && entry[0] !== CLOSE) continue;
    await reading.batch(batch);
    await checkSignatures(batch, manifest, reading.size - BigInt(batch.length));
    batch = [];
  }
  if (batch.length > 0) fail("stretch", "a stretch that does not end with a batch", reading.size);
  const after = reading.sums();
  return { checkpoint, votes: after.votes - before.votes, before, after };
}

async function begin(manifest: Manifest, cell: number, first: Bytes, start: bigint): Promise<CellLog> {
  if (start === 0n) {
    const log = new CellLog(manifest, cell);
    await log.batch([first]);
    return log;
  }
  const tally = parseEntry(first, manifest);
  if (tally.type !== "tally") return fail("stretch", "a stretch that does not begin at a tally", start);
  return new CellLog(manifest, cell, { tally, size: start + 1n });
}

async function checkSignatures(entries: readonly Bytes[], manifest: Manifest, start: bigint): Promise<void> {
  for (let from = 0; from < entries.length; from += TOGETHER) {
    await Promise.all(
      entries.slice(from, from + TOGETHER).map(async (bytes, i) => {
        const entry = parseEntry(bytes, manifest);
        const fault = entry.type === "vote" ? await voteFault(entry, manifest) : undefined;
        if (fault !== undefined) throw new VerifierError(fault, "a vote whose key or signatures do not hold", start + BigInt(from + i));
      }),
    );
  }
}
