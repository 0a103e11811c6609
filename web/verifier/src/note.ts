import { type Bytes, concat, equal, fromBase64, fromHex, fromUtf8, toHex, utf8 } from "./bytes.js";
import { verifyEd25519 } from "./ed25519.js";
import { fail } from "./error.js";
import { sha256 } from "./sha256.js";

export interface NoteSignature { readonly name: string; readonly keyId: Bytes; readonly signature: Bytes }

/** A C2SP signed note. `text` ends in a newline. */
export interface Note { readonly text: string; readonly signatures: readonly NoteSignature[] }

/** A C2SP verifier key: Ed25519 (type 1) or its cosignatures (type 4). */
export interface VerifierKey { readonly name: string; readonly type: 1 | 4; readonly keyId: Bytes; readonly publicKey: Bytes }

export const MAX_NOTE = 65_536;
const MAX_SIGNATURES = 100;

/** The characters with the property White_Space of Unicode. */
const SPACE = /[\u0009-\u000d\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;

const isKeyName = (name: string): boolean => name !== "" && !SPACE.test(name) && !name.includes("+");

/** Reads a signed note of at most 64 KiB. Its signatures are not judged. */
export function parseNote(bytes: Bytes): Note {
  if (bytes.length > MAX_NOTE) fail("note", "a note of more than 64 KiB");
  const whole = fromUtf8(bytes);
  if (/[\u0000-\u0009\u000b-\u001f]/.test(whole)) fail("note", "a control character");
  const split = whole.lastIndexOf("\n\n");
  if (split < 0) fail("note", "no empty line in front of the signatures");
  const text = whole.slice(0, split + 1);
  const below = whole.slice(split + 2);
  if (!below.endsWith("\n")) fail("note", "no signature line, or no newline at the end");
  const lines = below.slice(0, -1).split("\n");
  if (lines.length > MAX_SIGNATURES) fail("note", "more than 100 signature lines");
  return { text, signatures: lines.map(parseLine) };
}

function parseLine(line: string): NoteSignature {
  const parts = line.split(" ");
  const [dash, name = "", base64 = ""] = parts;
  if (parts.length !== 3 || dash !== "\u2014" || !isKeyName(name)) return fail("note", "not a signature line");
  const bytes = fromBase64(base64);
  if (bytes.length < 5) return fail("note", "a signature line without signature");
  return { name, keyId: bytes.slice(0, 4), signature: bytes.slice(4) };
}

/** The key ID of a C2SP key. */
export async function keyIdOf(name: string, type: 1 | 4, publicKey: Uint8Array): Promise<Bytes> {
  return (await sha256(utf8(`${name}\n`), Uint8Array.of(type), publicKey)).slice(0, 4);
}

/** Reads a verifier key, `name+id+key`. The key itself is not judged. */
export async function parseVerifierKey(text: string): Promise<VerifierKey> {
  const [name = "", id, ...rest] = text.split("+");
  // Base64 has pluses too.
  const bytes = fromBase64(rest.join("+"));
  const type = bytes[0];
  if (!isKeyName(name) || id === undefined) return fail("vkey", "not name, id and key");
  if (bytes.length !== 33 || (type !== 1 && type !== 4)) return fail("vkey", "not an Ed25519 key or a cosigner's");
  const publicKey = bytes.slice(1);
  const keyId = fromHex(id, 4);
  if (!equal(keyId, await keyIdOf(name, type, publicKey))) fail("vkey", "the id is not that of name and key");
  return { name, type, keyId, publicKey };
}

/** The verifier key with which a log signs its own checkpoints. */
export async function logKey(origin: string, publicKey: Bytes): Promise<VerifierKey> {
  return { name: origin, type: 1, keyId: await keyIdOf(origin, 1, publicKey), publicKey };
}

/** Whether the line is named after this key. */
export function isNamedAfter(signature: NoteSignature, key: VerifierKey): boolean {
  return signature.name === key.name && toHex(signature.keyId) === toHex(key.keyId);
}

/** Whether the line is this key's valid signature (type 1) over the text. */
export async function verifyLine(text: string, line: NoteSignature, key: VerifierKey): Promise<boolean> {
  return key.type === 1 && isNamedAfter(line, key) && verifyEd25519(key.publicKey, utf8(text), line.signature);
}

/** The time in seconds of a valid cosignature (type 4) over the text, or undefined. */
export async function verifyCosignature(text: string, line: NoteSignature, key: VerifierKey): Promise<bigint | undefined> {
  if (key.type !== 4 || !isNamedAfter(line, key) || line.signature.length !== 72) return undefined;
  const time = BigInt(`0x${toHex(line.signature.subarray(0, 8))}`);
  if (time < 1n || time >= 1n << 63n) return undefined;
  const message = concat(utf8(`cosignature/v1\ntime ${time}\n`), utf8(text));
  return (await verifyEd25519(key.publicKey, message, line.signature.slice(8))) ? time : undefined;
}
