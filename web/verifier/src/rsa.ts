import { type Bytes, concat, equal, fromHex, toBigInt, uint } from "./bytes.js";
import { fail } from "./error.js";

/** A registrar's key. */
export interface RsaKey {
  readonly spki: Bytes;
  readonly modulus: bigint;
  /** The modulus's length, and that of every signature, in bytes. */
  readonly length: number;
}

const ALGORITHM = fromHex("300d06092a864886f70d0101010500");
const EXPONENT = fromHex("0203010001");

/** The one DER encoding in front of a modulus of `length` bytes whose top bit is set; all its lengths take two bytes. */
function prefix(length: number): Bytes {
  const sequence = (content: number): Bytes => concat(Uint8Array.of(0x30, 0x82), uint(BigInt(content), 2));
  const integer = concat(Uint8Array.of(0x02, 0x82), uint(BigInt(length + 1), 2), Uint8Array.of(0));
  const key = concat(sequence(integer.length + length + EXPONENT.length), integer);
  const bits = key.length + length + EXPONENT.length + 1;
  const wrapped = concat(Uint8Array.of(0x03, 0x82), uint(BigInt(bits), 2), Uint8Array.of(0), key);
  return concat(sequence(ALGORITHM.length + 4 + bits), ALGORITHM, wrapped);
}

let primes: readonly bigint[] | undefined;

/** The odd primes below 65,536. */
function smallPrimes(): readonly bigint[] {
  if (primes === undefined) {
    const composite = new Uint8Array(65536);
    const found: bigint[] = [];
    for (let n = 3; n < 65536; n += 2) {
      if (composite[n] === 1) continue;
      found.push(BigInt(n));
      for (let multiple = n * n; multiple < 65536; multiple += 2 * n) composite[multiple] = 1;
    }
    primes = found;
  }
  return primes;
}

function isSquare(n: bigint, bits: number): boolean {
  let root = 1n << BigInt(Math.ceil(bits / 2));
  for (;;) {
    const next = (root + n / root) >> 1n;
    if (next >= root) return root * root === n;
    root = next;
  }
}

/** Reads a registrar's key (section 5): one encoding, 2048 to 4096 bits, and a modulus that is not plainly broken. */
export function parseRsaKey(spki: Bytes): RsaKey {
  const length = spki.length - prefix(256).length - EXPONENT.length;
  if (length < 256 || length > 512) fail("rsa-key", "not of 2048 to 4096 bits, in the one encoding");
  const front = prefix(length);
  if (!equal(spki.subarray(0, front.length), front)) fail("rsa-key", "not the one encoding of a key");
  if (!equal(spki.subarray(front.length + length), EXPONENT)) fail("rsa-key", "the exponent is not 65,537");
  const bytes = spki.subarray(front.length, front.length + length);
  if ((bytes[0] ?? 0) < 0x80) fail("rsa-key", "the modulus's top bit is not set");
  const modulus = toBigInt(bytes);
  if ((modulus & 1n) === 0n) fail("rsa-key", "an even modulus");
  if (smallPrimes().some((prime) => modulus % prime === 0n)) fail("rsa-key", "a modulus with a small factor");
  if (isSquare(modulus, length * 8)) fail("rsa-key", "a modulus that is a square");
  return { spki, modulus, length };
}

/** Whether `signature` is an RSASSA-PSS signature (SHA-384, salt of 48 bytes) of exactly the modulus's length. */
export async function verifyRsa(key: RsaKey, message: Bytes, signature: Bytes): Promise<boolean> {
  if (signature.length !== key.length || toBigInt(signature) >= key.modulus) return false;
  try {
    const imported = await crypto.subtle.importKey("spki", key.spki, { name: "RSA-PSS", hash: "SHA-384" }, false, ["verify"]);
    return await crypto.subtle.verify({ name: "RSA-PSS", saltLength: 48 }, imported, signature, message);
  } catch {
    return false;
  }
}
