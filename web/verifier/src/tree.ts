import type { Bytes } from "./bytes.js";
import { fail } from "./error.js";
import { foldRight } from "./merkle.js";
import { type ProvenTiles, largestPower, rangeRoot, tilePath, wayTiles } from "./tiles.js";

/** The names of the tiles of a tree of `newest` leaves from which these leaves, and the trees of these sizes below it, are proven. */
export function pathTiles(newest: bigint, leaves: readonly bigint[], sizes: readonly bigint[]): string[] {
  const ends = sizes.filter((size) => size > 0n).map((size) => size - 1n);
  const names = [...leaves, ...ends].flatMap((leaf) => wayTiles(0, leaf, newest).map(tilePath));
  return [...new Set([...names, ...wayTiles(0, newest - 1n, newest).map(tilePath)])];
}

/** RFC 6962's inclusion proof of the leaf at `index` in the tree of the first `size` leaves, from the tiles of a tree of `newest` leaves. */
export async function inclusionPath(proven: ProvenTiles, index: bigint, size: bigint, newest: bigint): Promise<Bytes[]> {
  if (index >= size || size > newest) return fail("inclusion", "the index is not in the tree");
  const path = async (from: bigint, to: bigint): Promise<Bytes[]> => {
    if (to - from === 1n) return [];
    const middle = from + largestPower(to - from);
    return index < middle
      ? [...(await path(from, middle)), await rangeRoot(proven, middle, to, newest)]
      : [...(await path(middle, to)), await rangeRoot(proven, from, middle, newest)];
  };
  return path(0n, size);
}

/** RFC 6962's consistency proof between two sizes, from the tiles of a tree of `newest` leaves. */
export async function consistencyPath(proven: ProvenTiles, older: bigint, newer: bigint, newest: bigint): Promise<Bytes[]> {
  if (older > newer || newer > newest) return fail("consistency", "the older tree is the larger one");
  if (older === 0n || older === newer) return [];
  const proof = async (old: bigint, from: bigint, to: bigint, whole: boolean): Promise<Bytes[]> => {
    if (old === to) return whole ? [] : [await rangeRoot(proven, from, to, newest)];
    const middle = from + largestPower(to - from);
    return old <= middle
      ? [...(await proof(old, from, middle, whole)), await rangeRoot(proven, middle, to, newest)]
      : [...(await proof(old, middle, to, false)), await rangeRoot(proven, from, middle, newest)];
  };
  return proof(older, 0n, newer, true);
}

/** The root of the tree of the first `size` leaves. */
export async function rootAt(proven: ProvenTiles, size: bigint, newest: bigint): Promise<Bytes> {
  if (size > newest) return fail("consistency", "beyond the tree");
  return size === 0n ? foldRight([]) : rangeRoot(proven, 0n, size, newest);
}
