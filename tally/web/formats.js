// The bytes that this page reads, and nothing beyond: hexadecimal and base64 in their one spelling, canonical JSON,
// C2SP tlog-proof and checkpoint notes, and tally entries. Every parser takes exactly one encoding and throws on any other.

export class FormatError extends Error {}

function fail(what) {
  throw new FormatError(what);
}

/** Lowercase hexadecimal of bytes. */
export function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Bytes of lowercase hexadecimal, `length` of them. */
export function fromHex(text, length) {
  if (typeof text !== "string" || text.length !== 2 * length || !/^[0-9a-f]*$/.test(text)) fail(`not ${length} bytes in lowercase hexadecimal`);
  return Uint8Array.from({ length }, (_, i) => Number.parseInt(text.slice(2 * i, 2 * i + 2), 16));
}

/** Bytes of standard base64 with padding (RFC 4648 section 4); any other spelling of the same bytes is refused. */
export function fromBase64(text) {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) fail("not base64");
  const raw = atob(text);
  // Unused bits must be zero: the spelling that encoding gives back is the only one.
  if (btoa(raw) !== text) fail("base64 in another than its one spelling");
  return Uint8Array.from(raw, (char) => char.charCodeAt(0));
}

export function sameBytes(a, b) {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** A decimal without leading zeroes, at most 2^53 - 1. */
export function fromDecimal(text) {
  const value = Number(text);
  if (!/^(0|[1-9][0-9]{0,15})$/.test(text) || !Number.isSafeInteger(value)) fail(`"${text.slice(0, 20)}" is not a plain decimal number`);
  return value;
}

/** RFC 8785 text of a value. JavaScript's own number and string forms are the ones that the RFC prescribes; only names need sorting. */
function canonicalText(value) {
  if (Array.isArray(value)) return `[${value.map(canonicalText).join(",")}]`;
  if (value !== null && typeof value === "object") {
    return `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonicalText(value[name])}`).join(",")}}`;
  }
  return JSON.stringify(value);
}

/** Parses UTF-8 bytes that must be the RFC 8785 canonical form of their own content: no duplicate names, no second spelling. */
export function parseCanonical(bytes, what) {
  let text;
  let value;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    value = JSON.parse(text);
  } catch {
    fail(`${what} is not JSON in UTF-8`);
  }
  if (canonicalText(value) !== text) fail(`${what} is not in its canonical form`);
  return value;
}

/** Throws unless `value` is an object with exactly these members. */
export function members(value, names, what) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) fail(`${what} is not an object`);
  const have = Object.keys(value).sort();
  if (have.length !== names.length || names.some((name) => !Object.hasOwn(value, name))) fail(`${what} must have the members ${names.join(", ")}`);
  return value;
}

export function integer(value, what) {
  if (!Number.isSafeInteger(value) || value < 0) fail(`${what} is not an integer from 0 to 2^53 - 1`);
  return value;
}

export function list(value, what) {
  if (!Array.isArray(value)) fail(`${what} is not a list`);
  return value;
}

/**
 * A C2SP tlog-proof: `{extra, index, path, note}`.
 *
 *     c2sp.org/tlog-proof@v1
 *     extra <base64>
 *     index <decimal>
 *     <base64 hash>, from the leaf's sibling up to the root's child
 *     (empty line)
 *     <the checkpoint note, verbatim>
 */
export function parseProof(text) {
  const cut = text.indexOf("\n\n");
  if (cut < 0) fail("the proof has no checkpoint");
  const [first, extra, index, ...path] = text.slice(0, cut).split("\n");
  if (first !== "c2sp.org/tlog-proof@v1") fail("the proof does not start with c2sp.org/tlog-proof@v1");
  if (extra === undefined || !extra.startsWith("extra ")) fail("the proof does not hold the entry that it proves");
  if (index === undefined || !index.startsWith("index ")) fail("the proof does not say which entry it proves");
  if (path.length > 63) fail("the proof is longer than that of any log");
  return {
    extra: fromBase64(extra.slice(6)),
    index: fromDecimal(index.slice(6)),
    path: path.map(hash),
    note: parseNote(text.slice(cut + 2)),
  };
}

function hash(line) {
  const bytes = fromBase64(line);
  if (bytes.length !== 32) fail("a hash of the proof does not have 32 bytes");
  return bytes;
}

/**
 * A checkpoint note with exactly one signature line: `{body, origin, size, root, signer, keyId, signature}`; `body` is the signed bytes.
 *
 *     <origin>
 *     <size>
 *     <base64 root>
 *     (empty line)
 *     — <signer> <base64 of key id (4) ‖ signature (64)>
 */
export function parseNote(text) {
  const cut = text.indexOf("\n\n");
  const lines = text.slice(0, cut).split("\n");
  const signatures = text.slice(cut + 2).split("\n");
  if (cut < 0 || lines.length !== 3) fail("a checkpoint must have an origin, a size and a root, and no other line");
  if (signatures.length !== 2 || signatures[1] !== "") fail("a published checkpoint must have exactly one signature line");
  const match = /^\u2014 ([^ ]+) ([^ ]+)$/.exec(signatures[0]);
  if (match === null) fail("the checkpoint's signature line is malformed");
  const blob = fromBase64(match[2]);
  if (blob.length !== 68) fail("the checkpoint's signature does not have 64 bytes");
  return {
    body: new TextEncoder().encode(text.slice(0, cut + 1)),
    origin: lines[0],
    size: fromDecimal(lines[1]),
    root: hash(lines[2]),
    signer: match[1],
    keyId: blob.slice(0, 4),
    signature: blob.slice(4),
  };
}

/**
 * A tally entry, 0x03 ‖ batch ‖ time ‖ votes ‖ abstentions ‖ for each contest: blanks ‖ count * options (u64, big-endian):
 * `{batch, time, votes, abstentions, contests: [{blanks, counts}]}`.
 */
export function parseTally(bytes, contests) {
  const length = 33 + contests.reduce((sum, contest) => sum + 8 * (1 + contest.options.length), 0);
  if (bytes[0] !== 3 || bytes.length !== length) fail("the entry that is proven is not a tally entry of this election");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 1;
  const next = () => {
    const value = Number(view.getBigUint64(at));
    at += 8;
    return integer(value, "a number of the tally entry");
  };
  const [batch, time, votes, abstentions] = [next(), next(), next(), next()];
  return {
    batch,
    time,
    votes,
    abstentions,
    contests: contests.map((contest) => ({ blanks: next(), counts: contest.options.map(next) })),
  };
}
