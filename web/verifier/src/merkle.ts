import { type Bytes, equal } from "./bytes.js";
import { EMPTY_ROOT, type TreeHead } from "./checkpoint.js";
import { fail } from "./error.js";
import { sha256 } from "./sha256.js";

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

/** RFC 6962's hash of an entry. */
export function leafHash(entry: Uint8Array): Promise<Bytes> {
  return sha256(LEAF, entry);
}

/** RFC 6962's hash of two subtrees. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Promise<Bytes> {
  return sha256(NODE, left, right);
}

/** The largest power of two below `size`. */
function split(size: bigint): bigint {
  return 1n << BigInt((size - 1n).toString(2).length - 1);
}

/** Checks RFC 6962's inclusion proof, from the leaf's sibling up. */
export async function verifyInclusion(leaf: Bytes, index: bigint, head: TreeHead, proof: readonly Bytes[]): Promise<void> {
  if (index >= head.size) fail("inclusion", "the index is not in the tree");
  let position = index;
  let last = head.size - 1n;
  let hash = leaf;
  for (const sibling of proof) {
    if (last === 0n) fail("inclusion", "a proof of too many hashes");
    if ((position & 1n) === 1n || position === last) {
      hash = await nodeHash(sibling, hash);
      // At the right edge, the levels without a sibling are passed over.
      while ((position & 1n) === 0n && position !== 0n) {
        position >>= 1n;
        last >>= 1n;
      }
    } else {
      hash = await nodeHash(hash, sibling);
    }
    position >>= 1n;
    last >>= 1n;
  }
  if (last !== 0n) fail("inclusion", "a proof of too few hashes");
  if (!equal(hash, head.root)) fail("inclusion", "the proof leads to another root");
}

/** Checks RFC 6962's consistency proof. From the empty tree, and from a tree to itself, it is empty. */
export async function verifyConsistency(older: TreeHead, newer: TreeHead, proof: readonly Bytes[]): Promise<void> {
  if (older.size > newer.size) fail("consistency", "the older tree is the larger one");
  for (const { size, root } of [older, newer]) if (size === 0n && !equal(root, EMPTY_ROOT)) fail("consistency", "an empty tree with another root");
  if (older.size === newer.size && !equal(older.root, newer.root)) fail("consistency", "two roots of one size");
  if (older.size === 0n || older.size === newer.size) {
    if (proof.length > 0) fail("consistency", "a proof where none is needed");
    return;
  }
  const rest = [...proof];
  const [oldRoot, newRoot] = await rebuild(older, newer.size, rest, true);
  if (rest.length > 0) fail("consistency", "a proof of too many hashes");
  if (!equal(oldRoot, older.root) || !equal(newRoot, newer.root)) fail("consistency", "the proof leads to other roots");
}

/** RFC 6962's PROOF read backwards: the last hash is that of the topmost step. Gives the old and the new root of a subtree. */
async function rebuild(older: TreeHead, size: bigint, proof: Bytes[], whole: boolean): Promise<readonly [Bytes, Bytes]> {
  const take = (): Bytes => proof.pop() ?? fail("consistency", "a proof of too few hashes");
  if (older.size === size) {
    const hash = whole ? older.root : take();
    return [hash, hash];
  }
  const left = split(size);
  const sibling = take();
  if (older.size <= left) {
    const [oldHash, newHash] = await rebuild(older, left, proof, whole);
    return [oldHash, await nodeHash(newHash, sibling)];
  }
  const [oldHash, newHash] = await rebuild({ size: older.size - left, root: older.root }, size - left, proof, false);
  return [await nodeHash(sibling, oldHash), await nodeHash(sibling, newHash)];
}

/** A tree that grows: the roots of its perfect subtrees, largest first, as many as its size has ones. */
export class CompactRange {
  private hashes: Bytes[] = [];
  size = 0n;

  async append(leaf: Bytes): Promise<void> {
    let hash = leaf;
    for (let bits = this.size; (bits & 1n) === 1n; bits >>= 1n) {
      const left = this.hashes.pop();
      if (left === undefined) break;
      hash = await nodeHash(left, hash);
    }
    this.hashes.push(hash);
    this.size += 1n;
  }

  copy(): CompactRange {
    const out = new CompactRange();
    out.hashes = [...this.hashes];
    out.size = this.size;
    return out;
  }

  async root(): Promise<Bytes> {
    return foldRight(this.hashes);
  }
}

/** The root above perfect subtrees, largest first. */
export async function foldRight(hashes: readonly Bytes[]): Promise<Bytes> {
  let root = hashes.at(-1) ?? EMPTY_ROOT;
  for (let i = hashes.length - 2; i >= 0; i--) root = await nodeHash(hashes[i] ?? EMPTY_ROOT, root);
  return root;
}

/** The root of a perfect subtree over 1, 2, 4, … hashes. */
export async function perfectRoot(hashes: readonly Bytes[]): Promise<Bytes> {
  let level = hashes;
  while (level.length > 1) {
    const pairs: Promise<Bytes>[] = [];
    for (let i = 0; i < level.length; i += 2) pairs.push(nodeHash(level[i] ?? EMPTY_ROOT, level[i + 1] ?? EMPTY_ROOT));
    level = await Promise.all(pairs);
  }
  return level[0] ?? EMPTY_ROOT;
}

/** RFC 6962's inclusion proof of the leaf at `index`, from its sibling up. */
export async function inclusionProof(index: number, leaves: readonly Bytes[]): Promise<Bytes[]> {
  if (leaves.length <= 1) return [];
  const left = Number(split(BigInt(leaves.length)));
  const [near, far] = index < left ? [leaves.slice(0, left), leaves.slice(left)] : [leaves.slice(left), leaves.slice(0, left)];
  return [...(await inclusionProof(index < left ? index : index - left, near)), await rootOf(far)];
}

/** The root of the tree over these leaves. */
export async function rootOf(leaves: readonly Bytes[]): Promise<Bytes> {
  const range = new CompactRange();
  for (const leaf of leaves) await range.append(leaf);
  return range.root();
}
