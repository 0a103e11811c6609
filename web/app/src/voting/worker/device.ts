// A voter's device: everything follows from one secret (protocol, section 5), so that whatever breaks off can be done again with the same bytes.
import { type Bytes, type Manifest, type RsaKey, VerifierError, utf8, verifyRsa } from "../../../../verifier/src/index.js";

const HASH = 48;
const CANDIDATES_MAX = 256;
const E = 65_537n;
const PKCS8 = Uint8Array.of(0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20);

const join = (...parts: readonly Uint8Array[]): Bytes => {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.reduce((at, part) => (out.set(part, at), at + part.length), 0);
  return out;
};
const u16 = (value: number): Bytes => Uint8Array.of(value >> 8, value & 255);
const u32 = (value: number): Bytes => join(u16(value >>> 16), u16(value & 0xffff));
const integer = (bytes: Uint8Array): bigint => BigInt(`0x${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`);

function bytesOf(value: bigint, length: number): Bytes {
  const hex = value.toString(16).padStart(2 * length, "0");
  return Uint8Array.from({ length }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16));
}

/** What goes to a registrar, and what turns its answer into a signature. */
export interface Blinded { readonly message: Bytes; readonly inverse: bigint }

/** `HKDF-Expand(HKDF-Extract(election id, secret), info, length)`. */
export async function expand(secret: Bytes, election: Bytes, info: Bytes, length: number): Promise<Bytes> {
  const key = await crypto.subtle.importKey("raw", secret, "HKDF", false, ["deriveBits"]);
  return new Uint8Array(await crypto.subtle.deriveBits({ name: "HKDF", hash: "SHA-256", salt: election, info }, key, 8 * length));
}

export class Device {
  /** The credential: the public key that stands in the vote. */
  readonly credential: Bytes;
  private readonly secret: Bytes;
  private readonly election: Bytes;
  private readonly key: CryptoKey;

  private constructor(secret: Bytes, election: Bytes, key: CryptoKey, credential: Bytes) {
    this.secret = secret;
    this.election = election;
    this.key = key;
    this.credential = credential;
  }

  static async open(secret: Bytes, election: Bytes): Promise<Device> {
    const seed = await expand(secret, election, utf8("tallyroot/v1/credential-key"), 32);
    const key = await crypto.subtle.importKey("pkcs8", join(PKCS8, seed), "Ed25519", true, ["sign"]);
    const { x = "" } = await crypto.subtle.exportKey("jwk", key);
    const credential = Uint8Array.from(atob(x.replace(/-/g, "+").replace(/_/g, "/")), (char) => char.charCodeAt(0));
    return new Device(secret, election, key, credential);
  }

  /** What each registrar signs. */
  get credentialMessage(): Bytes {
    return join(utf8("tallyroot/v1/credential\0"), this.election, this.credential);
  }

  /** RFC 9474's blinding, with salt and factor from the secret. */
  async blind(registrar: number, { modulus, length }: RsaKey): Promise<Blinded> {
    const salt = await expand(this.secret, this.election, join(utf8("tallyroot/v1/pss-salt"), u16(registrar)), HASH);
    const m = integer(await encodePss(this.credentialMessage, salt, length));
    if (inverseOf(m, modulus) === undefined) throw new VerifierError("credential", "the registrar's key is broken");
    for (let c = 0; c < CANDIDATES_MAX; c++) {
      const x = integer(await expand(this.secret, this.election, join(utf8("tallyroot/v1/blind"), u16(registrar), u32(c)), length));
      if (x <= 1n || x >= modulus) continue;
      const inverse = inverseOf(x, modulus);
      if (inverse === undefined) continue;
      const z = (m * power(x, modulus)) % modulus;
      if (z < 2n || z >= modulus - 1n) break;
      return { message: bytesOf(z, length), inverse };
    }
    throw new VerifierError("credential", "the registrar's key is broken");
  }

  /** The registrar's signature of the credential, from its answer; undefined where it signed something else. */
  async finalize({ inverse }: Blinded, answer: Bytes, key: RsaKey): Promise<Bytes | undefined> {
    if (answer.length !== key.length || integer(answer) >= key.modulus) return undefined;
    const signature = bytesOf((integer(answer) * inverse) % key.modulus, key.length);
    return (await verifyRsa(key, this.credentialMessage, signature)) ? signature : undefined;
  }

  /** The vote entry (section 7) for these choices: for each contest, option indices. */
  async vote(manifest: Manifest, signatures: readonly Bytes[], choices: readonly (readonly number[])[]): Promise<Bytes> {
    const ballot = encodeBallot(manifest, choices);
    const signed = join(utf8("tallyroot/v1/ballot\0"), this.election, ballot);
    const signature = new Uint8Array(await crypto.subtle.sign("Ed25519", this.key, signed));
    return join(Uint8Array.of(2), this.credential, ...signatures, ballot, signature);
  }
}

/** A ballot (section 6): approved options stand in the manifest's order, ranked ones in the voter's. */
export function encodeBallot({ contests }: Manifest, choices: readonly (readonly number[])[]): Bytes {
  return join(...contests.flatMap(({ method }, i) => {
    const chosen = [...(choices[i] ?? [])];
    if (method === "approval") chosen.sort((a, b) => a - b);
    return [u16(chosen.length), ...chosen.map(u16)];
  }));
}

/** EMSA-PSS (RFC 8017, 9.1.1) with SHA-384 throughout, for a modulus of `length` bytes whose top bit is set. */
async function encodePss(message: Bytes, salt: Bytes, length: number): Promise<Bytes> {
  const sha384 = async (...parts: readonly Uint8Array[]): Promise<Bytes> => new Uint8Array(await crypto.subtle.digest("SHA-384", join(...parts)));
  const hash = await sha384(new Uint8Array(8), await sha384(message), salt);
  const block = join(new Uint8Array(length - 2 * HASH - 2), Uint8Array.of(1), salt);
  for (let at = 0, counter = 0; at < block.length; at += HASH, counter++) {
    const mask = await sha384(hash, u32(counter));
    for (let i = 0; i < HASH && at + i < block.length; i++) block[at + i] = (block[at + i] ?? 0) ^ (mask[i] ?? 0);
  }
  block[0] = (block[0] ?? 0) & 0x7f;
  return join(block, hash, Uint8Array.of(0xbc));
}

/** x^65537 modulo n. */
function power(x: bigint, n: bigint): bigint {
  let out = x;
  for (let exponent = E - 1n; exponent > 1n; exponent >>= 1n) out = (out * out) % n;
  return (out * x) % n;
}

/** The inverse modulo n; undefined where there is none. */
function inverseOf(x: bigint, n: bigint): bigint | undefined {
  let [a, b, u, v] = [n, x % n, 0n, 1n];
  while (b !== 0n) {
    const q = a / b;
    [a, b, u, v] = [b, a - q * b, v, u - q * v];
  }
  return a === 1n ? ((u % n) + n) % n : undefined;
}
