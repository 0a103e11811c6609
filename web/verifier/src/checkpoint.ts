import { type Bytes, equal, fromBase64, fromDecimal, fromHex } from "./bytes.js";
import { fail } from "./error.js";
import { type Note, type VerifierKey, isNamedAfter, logKey, parseNote, verifyCosignature, verifyLine } from "./note.js";
import type { KeyPair } from "./manifest.js";

/** The root of the empty tree, `H("")`. */
export const EMPTY_ROOT = fromHex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");

export interface TreeHead { readonly size: bigint; readonly root: Bytes }

export type KeyName = "main" | "spare";

export interface Checkpoint extends TreeHead {
  /** Which of the log's keys signed it. */
  readonly key: KeyName;
}

export interface Cosignature { readonly witness: number; readonly time: bigint }

export interface CosignedCheckpoint extends Checkpoint { readonly cosignatures: readonly Cosignature[] }

/** What a checkpoint's text says: three lines, the first of them the origin. */
export function parseBody(text: string, origin: string): TreeHead {
  const lines = text.split("\n");
  const [first, size = "", root = "", end] = lines;
  if (lines.length !== 4 || end !== "") fail("checkpoint", "not exactly three lines");
  if (first !== origin) fail("checkpoint", "another log's checkpoint");
  const head = { size: fromDecimal(size), root: fromBase64(root, 32) };
  if (head.size === 0n && !equal(head.root, EMPTY_ROOT)) fail("checkpoint", "an empty log with another root");
  return head;
}

async function signerOf(note: Note, origin: string, keys: KeyPair): Promise<KeyName> {
  const line = note.signatures[0];
  if (line === undefined) return fail("checkpoint", "no signature line");
  for (const name of ["main", "spare"] as const) {
    if (await verifyLine(note.text, line, await logKey(origin, keys[name]))) return name;
  }
  return fail("checkpoint", "not signed by the log");
}

/** Reads a checkpoint: exactly one signature line, by one of the log's keys. Which of them may sign it is not judged here. */
export async function openCheckpoint(bytes: Bytes, origin: string, keys: KeyPair): Promise<Checkpoint> {
  const note = parseNote(bytes);
  if (note.signatures.length !== 1) fail("checkpoint", "not exactly one signature line");
  return { ...parseBody(note.text, origin), key: await signerOf(note, origin, keys) };
}

/** Reads a cosigned checkpoint: the log's line, then lines of named witnesses only, each at most once. The quorum is not judged here. */
export async function openCosigned(bytes: Bytes, origin: string, keys: KeyPair, witnesses: readonly VerifierKey[]): Promise<CosignedCheckpoint> {
  const note = parseNote(bytes);
  const head = parseBody(note.text, origin);
  const key = await signerOf(note, origin, keys);
  const cosignatures: Cosignature[] = [];
  for (const line of note.signatures.slice(1)) {
    const witness = witnesses.findIndex((named) => isNamedAfter(line, named));
    const named = witnesses[witness];
    const time = named === undefined ? undefined : await verifyCosignature(note.text, line, named);
    if (time === undefined) fail("checkpoint", "a line that is no valid cosignature of a named witness");
    if (cosignatures.some((other) => other.witness === witness)) fail("checkpoint", "a witness's second line");
    cosignatures.push({ witness, time });
  }
  return { ...head, key, cosignatures };
}
