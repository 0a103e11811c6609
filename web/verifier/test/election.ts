import { type KeyObject, constants, generateKeyPairSync, sign } from "node:crypto";
import { type Bytes, concat, toBase64, toHex, uint, utf8 } from "../src/bytes.js";
import { genesisOf, signedBytes } from "../src/entry.js";
import { canonicalText } from "../src/json.js";
import { type LogId, originOf } from "../src/logs.js";
import { type Manifest, parseManifest } from "../src/manifest.js";
import { leafHash, nodeHash } from "../src/merkle.js";
import { keyIdOf } from "../src/note.js";
import { EMPTY_ROOT } from "../src/checkpoint.js";

interface Key { readonly secret: KeyObject; readonly raw: Bytes }

function key(): Key {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  return { secret: privateKey, raw: new Uint8Array(publicKey.export({ type: "spki", format: "der" })).slice(-32) };
}

const pair = (): { main: Key; spare: Key } => ({ main: key(), spare: key() });
const published = ({ main, spare }: { main: Key; spare: Key }) => ({ main: toHex(main.raw), spare: toHex(spare.raw) });

/** RFC 6962 section 2.1, in its own words: over all leaves, each time. */
export async function rootOf(leaves: readonly Bytes[]): Promise<Bytes> {
  const [first] = leaves;
  if (first === undefined) return EMPTY_ROOT;
  if (leaves.length === 1) return first;
  const k = half(leaves.length);
  return nodeHash(await rootOf(leaves.slice(0, k)), await rootOf(leaves.slice(k)));
}

export async function pathOf(m: number, leaves: readonly Bytes[]): Promise<Bytes[]> {
  if (leaves.length === 1) return [];
  const k = half(leaves.length);
  if (m < k) return [...(await pathOf(m, leaves.slice(0, k))), await rootOf(leaves.slice(k))];
  return [...(await pathOf(m - k, leaves.slice(k))), await rootOf(leaves.slice(0, k))];
}

export async function consistencyOf(m: number, leaves: readonly Bytes[], whole = true): Promise<Bytes[]> {
  if (m === leaves.length) return whole ? [] : [await rootOf(leaves)];
  const k = half(leaves.length);
  if (m <= k) return [...(await consistencyOf(m, leaves.slice(0, k), whole)), await rootOf(leaves.slice(k))];
  return [...(await consistencyOf(m - k, leaves.slice(k), false)), await rootOf(leaves.slice(0, k))];
}

const half = (n: number): number => 2 ** Math.ceil(Math.log2(n) - 1);

/** An election of one cell, one registrar and one contest, whose keys are made anew. It signs whatever it is asked to: also two histories. */
export class Election {
  private constructor(
    readonly manifest: Manifest,
    readonly text: string,
    private readonly keys: { cell: Key; heads: Key; rsa: KeyObject },
  ) {}

  static async make(): Promise<Election> {
    const [cell, heads, authority, shard] = [pair(), pair(), pair(), pair()];
    const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const text = canonicalText({
      anchors: [{ kind: "directory", name: "a" }], authority: published(authority), base: "x.example", batch_min: 1, batch_wait_ms: 1000,
      cast_delay_s: 0, cells: [published(cell)], contests: [{ method: "plurality", name: "Mayor", options: ["Ada", "Ben"], tie_rule: "listed-order" }],
      demo: true, format: "tallyroot/v1/manifest", head_interval_ms: 1000, heads: published(heads),
      registrars: [{ name: "Hall", rsa: toBase64(rsa.publicKey.export({ type: "spki", format: "der" })), shards: [published(shard)] }],
      retention: 9000, roll: { root: toHex(EMPTY_ROOT), size: 10 }, times: { closing: 3000, grace: 1000, opening: 2000, registration: 1000 },
      title: "T", witnesses: { keys: [], quorum: 0 },
    });
    return new Election(await parseManifest(utf8(text)), text, { cell: cell.main, heads: heads.main, rsa: rsa.privateKey });
  }

  get id(): string {
    return toHex(this.manifest.election);
  }

  genesis(log: LogId): Bytes {
    return genesisOf(this.manifest, log);
  }

  /** A vote of a new voter. */
  vote(option: number): Bytes {
    const voter = key();
    const ballot = Uint8Array.of(0, 1, 0, option);
    const credential = sign("sha384", signedBytes("tallyroot/v1/credential", this.manifest, voter.raw), {
      key: this.keys.rsa, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 48,
    });
    return concat(Uint8Array.of(2), voter.raw, credential, ballot, sign(null, signedBytes("tallyroot/v1/ballot", this.manifest, ballot), voter.secret));
  }

  /** A head that lists the cell at this size and root; the issuance log at its genesis. */
  async head(final: boolean, size: number, root: Bytes): Promise<Bytes> {
    const shard = await leafHash(this.genesis({ kind: "issuance", registrar: 0, shard: 0 }));
    return concat(Uint8Array.of(final ? 9 : 7), uint(9000n, 8), Uint8Array.of(0), uint(BigInt(size), 8), root, Uint8Array.of(1), uint(1n, 8), shard);
  }

  /** The checkpoint over these leaves. */
  async checkpoint(log: LogId, leaves: readonly Bytes[]): Promise<string> {
    const origin = originOf(this.manifest, log);
    const secret = log.kind === "heads" ? this.keys.heads : this.keys.cell;
    const text = `${origin}\n${leaves.length}\n${toBase64(await rootOf(leaves))}\n`;
    const line = concat(await keyIdOf(origin, 1, secret.raw), sign(null, utf8(text), secret.secret));
    return `${text}\n\u2014 ${origin} ${toBase64(line)}\n`;
  }

  /** The `.tlog-proof` of an entry of these. */
  async proof(log: LogId, index: number, entries: readonly Bytes[]): Promise<string> {
    const leaves = await Promise.all(entries.map(leafHash));
    const path = (await pathOf(index, leaves)).map((hash) => `${toBase64(hash)}\n`).join("");
    return `c2sp.org/tlog-proof@v1\nextra ${toBase64(entries[index] ?? new Uint8Array(0))}\nindex ${index}\n${path}\n${await this.checkpoint(log, leaves)}`;
  }

  receipt(vote: string, final: { head: string; vote: string } | null = null): string {
    return canonicalText({ cell: 0, election: this.id, final, format: "tallyroot/v1/receipt", manifest: this.text, switches: [], vote });
  }
}

export const CELL: LogId = { kind: "cell", cell: 0 };
