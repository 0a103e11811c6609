import { type Bytes, toBigInt } from "./bytes.js";

const P = (1n << 255n) - 19n;
const L = (1n << 252n) + 27742317777372353535851937790883648493n;
const SIGN = 1n << 255n;

function power(base: bigint, exponent: bigint): bigint {
  let out = 1n;
  for (let bits = exponent, square = base % P; bits > 0n; bits >>= 1n, square = (square * square) % P) {
    if ((bits & 1n) === 1n) out = (out * square) % P;
  }
  return out;
}

const D = ((P - 121665n) * power(121666n, P - 2n)) % P;

const littleEndian = (bytes: Uint8Array): bigint => toBigInt(Uint8Array.from(bytes).reverse());

/** One of the two points of order 8 with a small y; the other's is its negative. */
const Y8 = littleEndian(
  Uint8Array.from([
    0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33,
    0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
  ]),
);
/** The y of the eight points of small order: the neutral one, that of order 2, two of order 4, four of order 8. */
const SMALL_ORDER: ReadonlySet<bigint> = new Set([1n, P - 1n, 0n, Y8, P - Y8]);

/** The y of an encoded point: below p, not of small order. The points with x = 0 are of small order, with either sign. */
function goodY(encoded: Uint8Array): bigint | undefined {
  const y = littleEndian(encoded) & (SIGN - 1n);
  return encoded.length === 32 && y < P && !SMALL_ORDER.has(y) ? y : undefined;
}

/** Whether a point of the curve has this y: (y² - 1) / (d y² + 1) is a square. */
function onCurve(y: bigint): boolean {
  const square = (y * y) % P;
  // u / v is a square if and only if u v is; v is never zero, for -1/d is none.
  const product = ((square + P - 1n) * (D * square + 1n)) % P;
  return product === 0n || power(product, (P - 1n) / 2n) === 1n;
}

/** The protocol's rule for keys (section 3): one encoding, not of small order, on the curve. */
export function isEd25519Key(key: Uint8Array): boolean {
  const y = goodY(key);
  return y !== undefined && onCurve(y);
}

/** Whether `signature` is `key`'s over `message`, by the protocol's rule: libraries differ at its edges, so these are checked in front of them. */
export async function verifyEd25519(key: Bytes, message: Bytes, signature: Bytes): Promise<boolean> {
  if (signature.length !== 64 || !isEd25519Key(key)) return false;
  if (goodY(signature.subarray(0, 32)) === undefined || littleEndian(signature.subarray(32)) >= L) return false;
  try {
    const imported = await crypto.subtle.importKey("raw", key, { name: "Ed25519" }, false, ["verify"]);
    return await crypto.subtle.verify({ name: "Ed25519" }, imported, signature, message);
  } catch {
    return false;
  }
}
