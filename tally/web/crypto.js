// SHA-256, RFC 6962 hashing and Ed25519 on the browser's own WebCrypto. The few rules that WebCrypto leaves open are checked here first.

import { FormatError } from "./formats.js";

function concat(...parts) {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

export async function sha256(subtle, bytes) {
  return new Uint8Array(await subtle.digest("SHA-256", bytes));
}

/** `SHA-256(0x00 ‖ entry)`. */
export function leafHash(subtle, entry) {
  return sha256(subtle, concat([0], entry));
}

/** The root that `path` leads to from the leaf hash at `index` in a tree of `size` leaves (RFC 6962 section 2.1.1). */
export async function rootFromInclusion(subtle, leaf, index, size, path) {
  if (index >= size) throw new FormatError("the proven entry lies outside the tree");
  let node = leaf;
  let at = BigInt(index);
  let last = BigInt(size) - 1n;
  for (const sibling of path) {
    if (last === 0n) throw new FormatError("the inclusion proof is too long");
    if (at % 2n === 1n || at === last) {
      node = await sha256(subtle, concat([1], sibling, node));
      // The last node of a level without a sibling moves up as it is.
      while (at % 2n === 0n && at !== 0n) {
        at /= 2n;
        last /= 2n;
      }
    } else {
      node = await sha256(subtle, concat([1], node, sibling));
    }
    at /= 2n;
    last /= 2n;
  }
  if (last !== 0n) throw new FormatError("the inclusion proof is too short");
  return node;
}

/** The first four bytes of `SHA-256(key name ‖ 0x0A ‖ 0x01 ‖ key)` (C2SP signed-note). */
export async function keyId(subtle, name, key) {
  return (await sha256(subtle, concat(new TextEncoder().encode(name), [10, 1], key))).slice(0, 4);
}

const P = 2n ** 255n - 19n;
const L = 2n ** 252n + 27742317777372353535851937790883648493n;
const TOP = 2n ** 255n;
// The y of the eight points of small order: 1, -1, 0 and the two of order 8.
const SMALL_ORDER_Y = new Set([
  1n,
  P - 1n,
  0n,
  2707385501144840649318225287225658788936804267575313519463743609750303402022n,
  55188659117513257062467267217118295137698188065244968500265048394206261417927n,
]);

function littleEndian(bytes) {
  return bytes.reduceRight((value, byte) => value * 256n + BigInt(byte), 0n);
}

function pointFollowsRule(bytes) {
  // "the encoded y of A and of R is below p = 2^255 - 19; neither is one of the eight small-order points; neither encodes x = 0
  // with the sign bit set": x is 0 only where y is 1 or -1, which have small order.
  const y = littleEndian(bytes) % TOP;
  return bytes.length === 32 && y < P && !SMALL_ORDER_Y.has(y);
}

/** Checks the rule of section 3 on the bytes of a key and a signature, before WebCrypto is asked. */
export function followsKeyRule(key, signature) {
  return pointFollowsRule(key) && signature.length === 64 && pointFollowsRule(signature.slice(0, 32)) && littleEndian(signature.slice(32)) < L;
}

// RFC 8032 section 7.1, test 1.
const KNOWN_KEY = Uint8Array.from(atob("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="), (char) => char.charCodeAt(0));
const KNOWN_SIGNATURE = Uint8Array.from(
  atob("5VZDAMNgrHKQhuLMgG6CioSHfx645dl02HPgZSJJAVVfuIIVkKM7rMYeOXAc+bRr0lv18FlbviRlUUFDjnoQCw=="),
  (char) => char.charCodeAt(0),
);

/** Whether this browser verifies Ed25519: it must accept a known signature and refuse it for another message. */
export async function hasEd25519(subtle) {
  try {
    return (await ask(subtle, KNOWN_KEY, KNOWN_SIGNATURE, new Uint8Array(0))) && !(await ask(subtle, KNOWN_KEY, KNOWN_SIGNATURE, new Uint8Array(1)));
  } catch {
    return false;
  }
}

async function ask(subtle, key, signature, message) {
  const imported = await subtle.importKey("raw", key, { name: "Ed25519" }, false, ["verify"]);
  return subtle.verify({ name: "Ed25519" }, imported, signature, message);
}

/** One signature, by the whole rule. */
export async function verifyEd25519(subtle, key, signature, message) {
  if (!followsKeyRule(key, signature)) return false;
  try {
    return await ask(subtle, key, signature, message);
  } catch {
    // A key that is not on the curve.
    return false;
  }
}
