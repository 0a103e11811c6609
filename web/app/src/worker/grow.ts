import {
  type Bytes, type Manifest, type TreeHead, VerifierError, authenticateTiles, canonicalText, consistencyPath, consistencyTiles, equal, fromUtf8, prefixRoot, tilePath,
  toBase64, toHex,
} from "../../../verifier/src/index.js";
import type { Source } from "./source.js";

/** A tree head that somebody signed, with the note that shows it, where there is one. */
export interface Signed extends TreeHead { readonly note: string | undefined }

/** Two histories of one log, both signed. */
export class Fork extends Error {
  readonly evidence: string | undefined;

  constructor(message: string, evidence: string | undefined) {
    super(message);
    this.evidence = evidence;
  }
}

/**
 * Proves that the smaller of two trees is the beginning of the larger one. Throws `Fork` where it is not; `VerifierError` where the tiles are not those of the
 * signed tree, asked for twice; `Unreachable` where they could not be had.
 */
export async function prove(source: Source, manifest: Manifest, manifestText: string, prefix: string, one: Signed, other: Signed): Promise<void> {
  const [older, newer] = one.size <= other.size ? [one, other] : [other, one];
  if (older.size === 0n) return;
  if (older.size === newer.size) {
    if (equal(older.root, newer.root)) return;
    throw new Fork(`two trees of ${older.size} entries in ${prefix}`, evidence(manifest, manifestText, older, newer, newer.root, []));
  }
  const names = consistencyTiles(older.size, newer.size).map(tilePath);
  const proven = await authenticateTiles(newer, await source.tiles(prefix, names)).catch(async (error: unknown) => {
    // What was damaged on its way is asked for once more.
    if (!(error instanceof VerifierError)) throw error;
    return authenticateTiles(newer, await source.tiles(prefix, names, "reload"));
  });
  const root = await prefixRoot(proven, older.size, newer.size);
  if (equal(root, older.root)) return;
  const proof = await consistencyPath(proven, older.size, newer.size, newer.size);
  throw new Fork(`the tree of ${newer.size} entries in ${prefix} does not begin with that of ${older.size}`, evidence(manifest, manifestText, older, newer, root, proof));
}

/** A split-view file (section 17), where both trees stand under notes of their own. */
function evidence(manifest: Manifest, text: string, older: Signed, newer: Signed, root: Bytes, proof: readonly Bytes[]): string | undefined {
  if (older.note === undefined || newer.note === undefined) return undefined;
  return canonicalText({
    election: toHex(manifest.election), format: "tallyroot/v1/split-view", manifest: text, newer: newer.note, older: older.note, proof: proof.map(toBase64), root: toBase64(root),
  });
}

/** The note of a proof, which verified, as text. */
export const noteText = (note: Bytes): string => fromUtf8(note);
