import { type Bytes, fromBase64, fromDecimal, fromUtf8, utf8 } from "./bytes.js";
import { type Checkpoint, openCheckpoint } from "./checkpoint.js";
import { fail } from "./error.js";
import type { KeyPair } from "./manifest.js";
import { verifyInclusion } from "./merkle.js";
import { parseNote } from "./note.js";

/** A C2SP `.tlog-proof`. */
export interface TlogProof {
  readonly extra: Bytes | undefined;
  readonly index: bigint;
  readonly hashes: readonly Bytes[];
  /** The checkpoint's bytes: a signed note. */
  readonly checkpoint: Bytes;
}

const MAX_PROOF = 131_072;
const MAX_HASHES = 64;

/** Reads a `.tlog-proof`. Nothing in it is judged but its form. */
export function parseTlogProof(bytes: Bytes): TlogProof {
  if (bytes.length > MAX_PROOF) fail("tlog-proof", "more than 128 KiB");
  const text = fromUtf8(bytes);
  const split = text.indexOf("\n\n");
  if (split < 0) fail("tlog-proof", "no empty line above the checkpoint");
  const lines = text.slice(0, split).split("\n");
  if (lines.shift() !== "c2sp.org/tlog-proof@v1") fail("tlog-proof", "another version");
  let extra: Bytes | undefined;
  if (lines[0]?.startsWith("extra ") === true) {
    extra = fromBase64((lines.shift() ?? "").slice("extra ".length));
    if (extra.length === 0) fail("tlog-proof", "an empty extra line");
  }
  const index = lines.shift() ?? "";
  if (!index.startsWith("index ")) fail("tlog-proof", "no index line");
  if (lines.length > MAX_HASHES) fail("tlog-proof", "more than 64 hashes");
  const checkpoint = utf8(text.slice(split + 2));
  parseNote(checkpoint);
  return { extra, index: fromDecimal(index.slice("index ".length)), hashes: lines.map((line) => fromBase64(line, 32)), checkpoint };
}

/** Checks that the proof leads from `leaf` to the checkpoint of a log, with exactly one signature line, and gives that checkpoint. */
export async function verifyTlogProof(proof: TlogProof, leaf: Bytes, origin: string, keys: KeyPair): Promise<Checkpoint> {
  const checkpoint = await openCheckpoint(proof.checkpoint, origin, keys);
  await verifyInclusion(leaf, proof.index, checkpoint, proof.hashes);
  return checkpoint;
}
