import { fail } from "./error.js";

/** Bytes that WebCrypto takes: over a buffer of their own kind, never a shared one. */
export type Bytes = Uint8Array<ArrayBuffer>;

const encoder = new TextEncoder();

/** The UTF-8 encoding of `text`. */
export function utf8(text: string): Bytes {
  return encoder.encode(text);
}

/** The text that `bytes` encode; refuses what is no UTF-8. A byte order mark is a character as any other. */
export function fromUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return fail("utf8", "not UTF-8");
  }
}

/** Whether `text` is a sequence of whole code points: a lone surrogate has no UTF-8 encoding. */
export function isWellFormed(text: string): boolean {
  return !/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/.test(text);
}

/** The parts, one behind the other. */
export function concat(...parts: readonly Uint8Array[]): Bytes {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Negative, zero or positive, as `a` stands before, with or behind `b` in the order of bytes. */
export function compare(a: Uint8Array, b: Uint8Array): number {
  const common = Math.min(a.length, b.length);
  for (let i = 0; i < common; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/** Whether both hold the same bytes. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && compare(a, b) === 0;
}

/** Lowercase hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  let out = "";
  for (const byte of bytes) out += byte.toString(16).padStart(2, "0");
  return out;
}

/** Bytes from lowercase hexadecimal; of `length` bytes where it is given. */
export function fromHex(text: string, length?: number): Bytes {
  if (text.length % 2 !== 0 || !/^[0-9a-f]*$/.test(text)) fail("hex", "not lowercase hexadecimal");
  const out = new Uint8Array(text.length / 2);
  for (let i = 0; i < out.length; i++) out[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  if (length !== undefined && out.length !== length) fail("hex", `${out.length} bytes instead of ${length}`);
  return out;
}

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** RFC 4648 section 4, padded. */
export function toBase64(bytes: Uint8Array): string {
  let out = "";
  for (let i = 0; i < bytes.length; i += 3) {
    const word = ((bytes[i] ?? 0) << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    const left = bytes.length - i;
    out += ALPHABET.charAt(word >> 18) + ALPHABET.charAt((word >> 12) & 63);
    out += left > 1 ? ALPHABET.charAt((word >> 6) & 63) : "=";
    out += left > 2 ? ALPHABET.charAt(word & 63) : "=";
  }
  return out;
}

const DIGITS = new Int8Array(128).fill(-1);
for (let i = 0; i < 64; i++) DIGITS[ALPHABET.charCodeAt(i)] = i;

/** Bytes from base64: padded, unused bits zero, nothing else; of `length` bytes where it is given. */
export function fromBase64(text: string, length?: number): Bytes {
  if (text.length % 4 !== 0) fail("base64", "not base64 with padding");
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const out = new Uint8Array((text.length / 4) * 3 - padding);
  let word = 0;
  let bits = 0;
  let at = 0;
  for (let i = 0; i < text.length - padding; i++) {
    const digit = DIGITS[text.charCodeAt(i)] ?? -1;
    if (digit < 0) fail("base64", "not base64");
    word = ((word << 6) | digit) & 0xffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out[at++] = (word >> bits) & 0xff;
    }
  }
  if ((word & ((1 << bits) - 1)) !== 0) fail("base64", "unused bits of base64 are set");
  if (length !== undefined && out.length !== length) fail("base64", `${out.length} bytes instead of ${length}`);
  return out;
}

/** The largest `u64`. */
export const U64_MAX = (1n << 64n) - 1n;
/** The first number that is no time: 2^53. */
export const TIME_END = 1n << 53n;

/** An unsigned integer in ASCII: digits, without leading zeroes, below 2^64. */
export function fromDecimal(text: string): bigint {
  if (!/^(0|[1-9][0-9]{0,19})$/.test(text)) fail("decimal", "not a decimal number");
  const value = BigInt(text);
  if (value > U64_MAX) fail("decimal", "above 64 bits");
  return value;
}

/** `value` as `length` bytes, big-endian. */
export function uint(value: bigint, length: number): Bytes {
  const out = new Uint8Array(length);
  for (let i = length - 1; i >= 0; i--) {
    out[i] = Number(value & 0xffn);
    value >>= 8n;
  }
  return out;
}

/** Bytes as a big-endian unsigned integer. */
export function toBigInt(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt(`0x${toHex(bytes)}`);
}

/** Reads a binary format from its start; refuses to read beyond its end. */
export class Reader {
  private at = 0;
  private readonly bytes: Bytes;
  private readonly code: string;

  constructor(bytes: Bytes, code: string) {
    this.bytes = bytes;
    this.code = code;
  }

  /** How many bytes are left. */
  get left(): number {
    return this.bytes.length - this.at;
  }

  take(length: number): Bytes {
    if (length > this.left) fail(this.code, "ends too early");
    const out = this.bytes.slice(this.at, this.at + length);
    this.at += length;
    return out;
  }

  u8(): number {
    return this.take(1)[0] ?? 0;
  }

  u16(): number {
    const bytes = this.take(2);
    return (bytes[0] ?? 0) * 256 + (bytes[1] ?? 0);
  }

  u32(): number {
    return Number(toBigInt(this.take(4)));
  }

  u64(): bigint {
    return toBigInt(this.take(8));
  }

  /** A time: a `u64` below 2^53. */
  time(): bigint {
    const time = this.u64();
    if (time >= TIME_END) fail(this.code, "a time of 2^53 or above");
    return time;
  }

  expect(bytes: Uint8Array, what: string): void {
    if (!equal(this.take(bytes.length), bytes)) fail(this.code, `another ${what}`);
  }

  end(): void {
    if (this.left > 0) fail(this.code, "bytes behind the end");
  }
}
