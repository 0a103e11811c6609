import { type Bytes, Reader, concat, equal } from "./bytes.js";
import type { TreeHead } from "./checkpoint.js";
import { fail } from "./error.js";
import { foldRight, perfectRoot } from "./merkle.js";

/** A C2SP tile, or an entry bundle. `width` is 256 for a full one. */
export interface Tile { readonly level: number | "entries"; readonly index: bigint; readonly width: number }

const LEVELS = 8;
export const FULL = 256;

/** The tile's name below its log's prefix. */
export function tilePath({ level, index, width }: Tile): string {
  const elements = [String(index % 1000n).padStart(3, "0")];
  for (let rest = index / 1000n; rest > 0n; rest /= 1000n) elements.unshift(`x${String(rest % 1000n).padStart(3, "0")}`);
  return `tile/${level}/${elements.join("/")}${width === FULL ? "" : `.p/${width}`}`;
}

/** The tile that has this name: each has one. */
export function parseTilePath(path: string): Tile {
  const parts = /^tile\/([0-7]|entries)\/((?:x[0-9]{3}\/){0,6}[0-9]{3})(?:\.p\/([1-9][0-9]{0,2}))?$/.exec(path);
  const [, level = "", elements = "", partial] = parts ?? fail("tile-path", "not a tile's name");
  const tile: Tile = {
    level: level === "entries" ? level : Number(level),
    index: BigInt(elements.replace(/[x/]/g, "")),
    width: partial === undefined ? FULL : Number(partial),
  };
  const below = tile.level === "entries" ? 0 : tile.level;
  if (tile.index >= 1n << BigInt(64 - 8 * (below + 1))) fail("tile-path", "beyond 2^64 leaves");
  if (tile.width > FULL || tilePath(tile) !== path) fail("tile-path", "not the tile's one name");
  return tile;
}

/** How many hashes of this level a tree has: those of whole subtrees of 256^level leaves. */
function hashes(size: bigint, level: number): bigint {
  return size >> BigInt(8 * level);
}

/** The tile of this level that holds the hash `position`, in a tree of `size` leaves. */
function tileAt(size: bigint, level: number, position: bigint): Tile {
  const index = position / 256n;
  const left = hashes(size, level) - index * 256n;
  return { level, index, width: left >= 256n ? FULL : Number(left) };
}

/** The right-edge partial tiles, from the leaves up. */
export function edgeTiles(size: bigint): Tile[] {
  const out: Tile[] = [];
  for (let level = 0; level < LEVELS; level++) {
    const count = hashes(size, level);
    if (count % 256n !== 0n) out.push(tileAt(size, level, count - 1n));
  }
  return out;
}

/** The tiles and bundles of `newSize` that `oldSize` lacks; all of them, for 0. For trees that grow by little: the list is made. */
export function newTiles(oldSize: bigint, newSize: bigint): { readonly tiles: Tile[]; readonly bundles: Tile[] } {
  const tiles: Tile[] = [];
  for (let level = 0; level < LEVELS; level++) {
    const [old, count] = [hashes(oldSize, level), hashes(newSize, level)];
    if (old === count) continue;
    for (let index = old / 256n; index * 256n < count; index++) tiles.push(tileAt(newSize, level, index * 256n));
  }
  const bundles = tiles.filter(({ level }) => level === 0).map((tile): Tile => ({ ...tile, level: "entries" }));
  return { tiles, bundles };
}

/** The right edge, and the full tiles on the way from a hash of some level to it. */
export function wayTiles(from: number, position: bigint, size: bigint): Tile[] {
  const out = edgeTiles(size);
  for (let level = from; level < LEVELS && position < hashes(size, level); level++, position /= 256n) {
    const tile = tileAt(size, level, position);
    if (tile.width === FULL) out.push(tile);
  }
  return out;
}

/** The tiles from which an inclusion proof of `index` is made and authenticated. */
export function inclusionTiles(index: bigint, size: bigint): Tile[] {
  return wayTiles(0, index, size);
}

/** The same for a consistency proof: the way of the last hash in the old tree's last perfect subtree, on the highest level that has it. */
export function consistencyTiles(oldSize: bigint, newSize: bigint): Tile[] {
  if (oldSize === 0n || oldSize === newSize) return edgeTiles(newSize);
  let level = 0;
  while (hashes(oldSize, level) % 256n === 0n) level++;
  return wayTiles(level, hashes(oldSize, level) - 1n, newSize);
}

/** Hashes that are proven to be of a tree: by the names of their tiles. */
export type ProvenTiles = ReadonlyMap<string, readonly Bytes[]>;

/**
 * Proves every hash of every given tile (name to bytes) against the tree's root. The right edge is needed whole;
 * a full tile is proven by the tile above it. Any tile that is not proven is a refusal.
 */
export async function authenticateTiles(head: TreeHead, files: ReadonlyMap<string, Bytes>): Promise<ProvenTiles> {
  const out = new Map<string, readonly Bytes[]>();
  const tiles: Tile[] = [];
  for (const [path, bytes] of files) {
    const tile = parseTilePath(path);
    const { level, index, width } = tile;
    if (level === "entries" || index * 256n >= hashes(head.size, level)) return fail("tile", `${path} is beyond the tree`);
    if (tilePath(tileAt(head.size, level, index * 256n)) !== path) fail("tile", `${path} is not of the tree's width`);
    if (bytes.length !== 32 * width) fail("tile", `${path} does not hold ${width} hashes`);
    out.set(path, Array.from({ length: width }, (_, i) => bytes.slice(32 * i, 32 * (i + 1))));
    tiles.push(tile);
  }
  const edge: Bytes[] = [];
  for (const tile of edgeTiles(head.size).reverse()) {
    const hashesOfTile = out.get(tilePath(tile)) ?? fail("tile", `${tilePath(tile)} is needed`);
    edge.push(...(await perfectParts(hashesOfTile)));
  }
  if (!equal(await foldRight(edge), head.root)) fail("tile", "the right edge makes another root");
  for (const tile of tiles) {
    if (tile.width !== FULL || tile.level === "entries") continue;
    const path = tilePath(tile);
    const above = out.get(tilePath(tileAt(head.size, tile.level + 1, tile.index))) ?? fail("tile", `the tile above ${path} is needed`);
    const named = above[Number(tile.index % 256n)] ?? fail("tile", `${path} is beyond the tree`);
    if (!equal(await perfectRoot(out.get(path) ?? []), named)) fail("tile", `${path} does not make its hash in the tile above`);
  }
  return out;
}

/** The root that the first `oldSize` leaves of a tree have, from its proven tiles (those of `consistencyTiles`): a log that only grew shows its old root here. */
export async function prefixRoot(proven: ProvenTiles, oldSize: bigint, newSize: bigint): Promise<Bytes> {
  if (oldSize > newSize) return fail("consistency", "the older tree is the larger one");
  const parts: Bytes[] = [];
  for (let level = LEVELS - 1; level >= 0; level--) {
    const count = hashes(oldSize, level);
    const width = Number(count % 256n);
    if (width === 0) continue;
    const path = tilePath(tileAt(newSize, level, count - 1n));
    const tile = proven.get(path) ?? fail("tile", `${path} is needed`);
    parts.push(...(await perfectParts(tile.slice(0, width))));
  }
  return foldRight(parts);
}

/** The largest power of two below `size`, which is above 1. */
export function largestPower(size: bigint): bigint {
  let out = 1n;
  while (out * 2n < size) out *= 2n;
  return out;
}

/** The root over the leaves from `from` to `to` - 1: a subtree of the tree of `size` leaves. */
export async function rangeRoot(proven: ProvenTiles, from: bigint, to: bigint, size: bigint): Promise<Bytes> {
  let level = 0;
  while (level + 1 < LEVELS && (to - from) % (1n << BigInt(8 * (level + 1))) === 0n) level++;
  const unit = 1n << BigInt(8 * level);
  const [first, end] = [from / unit, to / unit];
  if (end - first <= 256n && first / 256n === (end - 1n) / 256n) {
    const path = tilePath(tileAt(size, level, first));
    const tile = proven.get(path) ?? fail("tile", `${path} is needed`);
    return foldRight(await perfectParts(tile.slice(Number(first % 256n), Number(first % 256n) + Number(end - first))));
  }
  const middle = from + largestPower(to - from);
  return foldRight([await rangeRoot(proven, from, middle, size), await rangeRoot(proven, middle, to, size)]);
}

/** The roots of the perfect subtrees over some hashes, largest first. */
async function perfectParts(list: readonly Bytes[]): Promise<Bytes[]> {
  const out: Bytes[] = [];
  for (let at = 0, size = 128; size >= 1; size /= 2) {
    if ((list.length & size) === 0) continue;
    out.push(await perfectRoot(list.slice(at, at + size)));
    at += size;
  }
  return out;
}

/** The entries of a bundle of `width` entries. */
export function parseBundle(bytes: Bytes, width: number): Bytes[] {
  if (width < 1 || width > FULL) fail("bundle", "a bundle has 1 to 256 entries");
  const reader = new Reader(bytes, "bundle");
  const out: Bytes[] = [];
  for (let i = 0; i < width; i++) out.push(reader.take(reader.u16()));
  reader.end();
  return out;
}

/** The bundle that holds these entries. */
export function encodeBundle(entries: readonly Bytes[]): Bytes {
  return concat(...entries.flatMap((entry) => [Uint8Array.of(entry.length >> 8, entry.length & 255), entry]));
}
