import { type Choices, readBallot } from "./ballot.js";
import { type Bytes, Reader, concat, toBigInt, utf8 } from "./bytes.js";
import { isEd25519Key, verifyEd25519 } from "./ed25519.js";
import { fail } from "./error.js";
import { type LogId, encodeLogId, headLogs, logOf } from "./logs.js";
import { type Manifest, tallyLength } from "./manifest.js";
import { verifyRsa } from "./rsa.js";
import { sha256 } from "./sha256.js";

export interface Genesis { readonly type: "genesis"; readonly log: LogId }

export interface Vote {
  readonly type: "vote";
  readonly key: Bytes;
  readonly registrarSignatures: readonly Bytes[];
  readonly ballot: Bytes;
  readonly choices: Choices;
  readonly signature: Bytes;
}

/** Sums over votes: the body of a tally entry. */
export interface Sums {
  readonly votes: bigint;
  readonly abstentions: bigint;
  readonly contests: readonly { readonly blanks: bigint; readonly counts: readonly bigint[] }[];
}

export interface Tally { readonly type: "tally"; readonly batch: bigint; readonly time: bigint; readonly sums: Sums }
export interface Close { readonly type: "close"; readonly time: bigint; readonly count: bigint }
export interface Issuance { readonly type: "issuance"; readonly rollIndex: bigint; readonly digest: Bytes }
/** `refused`: unknown code, other message, outside the period, malformed. */
export interface Count { readonly type: "count"; readonly time: bigint; readonly issued: bigint; readonly refused: readonly bigint[] }

export type LogState = "open" | "stale" | "closed";
export interface HeadLog { readonly state: LogState; readonly size: bigint; readonly root: Bytes }
export interface Head { readonly type: "head" | "final-head"; readonly time: bigint; readonly logs: readonly HeadLog[] }

export type NoticeBody =
  | { readonly kind: "extend"; readonly closing: bigint }
  | { readonly kind: "cancel" }
  | { readonly kind: "freeze"; readonly log: LogId }
  | { readonly kind: "switch"; readonly log: LogId; readonly size: bigint; readonly root: Bytes };

export interface Notice {
  readonly type: "notice";
  readonly key: "main" | "spare";
  readonly signature: Bytes;
  /** What the authority signed, behind the key byte. */
  readonly encoded: Bytes;
  readonly sequence: number;
  readonly body: NoticeBody;
}

export type Entry = Genesis | Vote | Tally | Close | Issuance | Count | Head | Notice;

/** The longest entry, which its length of 16 bits allows. */
const MAX_ENTRY = 65_535;

/** Decodes an entry of any log. Signatures are not judged. */
export function parseEntry(bytes: Bytes, manifest: Manifest): Entry {
  if (bytes.length > MAX_ENTRY) fail("entry", "an entry of more than 65,535 bytes");
  const reader = new Reader(bytes, "entry");
  const entry = readEntry(reader, manifest);
  reader.end();
  return entry;
}

function readEntry(reader: Reader, manifest: Manifest): Entry {
  const type = reader.u8();
  switch (type) {
    case 1: return readGenesis(reader, manifest);
    case 2: return readVote(reader, manifest);
    case 3: return readTally(reader, manifest);
    case 4: return { type: "close", time: reader.time(), count: reader.u64() };
    case 5: return { type: "issuance", rollIndex: reader.u64(), digest: reader.take(32) };
    case 6: return { type: "count", time: reader.time(), issued: reader.u64(), refused: Array.from({ length: 4 }, () => reader.u64()) };
    case 7: return readHead(reader, manifest, "head");
    case 8: return readNotice(reader, manifest);
    case 9: return readHead(reader, manifest, "final-head");
    default: return fail("entry", "an unknown type");
  }
}

function readGenesis(reader: Reader, manifest: Manifest): Genesis {
  reader.expect(manifest.election, "election");
  return { type: "genesis", log: logOf(manifest, reader.u8(), reader.u32(), reader.u32(), "entry") };
}

function readVote(reader: Reader, manifest: Manifest): Vote {
  const key = reader.take(32);
  const registrarSignatures = manifest.registrars.map(({ rsa }) => reader.take(rsa.length));
  const ballot = reader.take(Math.max(reader.left - 64, 0));
  const ballotReader = new Reader(ballot, "entry");
  const choices = readBallot(ballotReader, manifest.contests);
  ballotReader.end();
  return { type: "vote", key, registrarSignatures, ballot, choices, signature: reader.take(64) };
}

function readTally(reader: Reader, manifest: Manifest): Tally {
  // Before anything is made of it: the length follows from the manifest.
  if (reader.left !== tallyLength(manifest.contests) - 1) fail("entry", "not a tally's length");
  const [batch, time, votes, abstentions] = [reader.u64(), reader.time(), reader.u64(), reader.u64()];
  const contests = manifest.contests.map(({ options }) => ({ blanks: reader.u64(), counts: options.map(() => reader.u64()) }));
  return { type: "tally", batch, time, sums: { votes, abstentions, contests } };
}

function readHead(reader: Reader, manifest: Manifest, type: Head["type"]): Head {
  const time = reader.time();
  const logs = headLogs(manifest).map((): HeadLog => {
    const state = (["open", "stale", "closed"] as const)[reader.u8()] ?? fail("entry", "an unknown state");
    return { state, size: reader.u64(), root: reader.take(32) };
  });
  return { type, time, logs };
}

function readNotice(reader: Reader, manifest: Manifest): Notice {
  const key = (["main", "spare"] as const)[reader.u8()] ?? fail("entry", "an unknown key of the authority");
  const signature = reader.take(64);
  const encoded = reader.take(reader.left);
  const inner = new Reader(encoded, "entry");
  const kind = inner.u8();
  const sequence = inner.u32();
  const body = readBody(inner, kind, manifest);
  inner.end();
  return { type: "notice", key, signature, encoded, sequence, body };
}

function readBody(reader: Reader, kind: number, manifest: Manifest): NoticeBody {
  const log = (): LogId => logOf(manifest, reader.u8(), reader.u32(), reader.u32(), "entry");
  switch (kind) {
    case 1: return { kind: "extend", closing: reader.time() };
    case 2: return { kind: "cancel" };
    case 3: {
      const frozen = log();
      return frozen.kind === "heads" ? fail("entry", "a freeze of the heads log") : { kind: "freeze", log: frozen };
    }
    case 4: return { kind: "switch", log: log(), size: reader.u64(), root: reader.take(32) };
    default: return fail("entry", "an unknown kind of notice");
  }
}

/** The genesis entry of a log. */
export function genesisOf(manifest: Manifest, log: LogId): Bytes {
  return concat(Uint8Array.of(1), manifest.election, encodeLogId(log));
}

/** `label ‖ 0x00 ‖ election id ‖ body`: what is signed, but for checkpoints. */
export function signedBytes(label: string, manifest: Manifest, body: Uint8Array): Bytes {
  return concat(utf8(label), Uint8Array.of(0), manifest.election, body);
}

/** The cell that a credential key belongs to. */
export async function cellOf(key: Bytes, manifest: Manifest): Promise<number> {
  const hash = await sha256(key);
  return Number((toBigInt(hash.subarray(0, 8)) * BigInt(manifest.cells.length)) >> 64n);
}

export type VoteFault = "vote-bad-key" | "vote-registrar-signature" | "vote-ballot-signature";

/** What is wrong with a vote's key or signatures, if anything. */
export async function voteFault(vote: Vote, manifest: Manifest): Promise<VoteFault | undefined> {
  if (!isEd25519Key(vote.key)) return "vote-bad-key";
  const credential = signedBytes("tallyroot/v1/credential", manifest, vote.key);
  const registrars = await Promise.all(
    manifest.registrars.map(({ rsa }, i) => verifyRsa(rsa, credential, vote.registrarSignatures[i] ?? new Uint8Array(0))),
  );
  if (registrars.includes(false)) return "vote-registrar-signature";
  const ballot = signedBytes("tallyroot/v1/ballot", manifest, vote.ballot);
  return (await verifyEd25519(vote.key, ballot, vote.signature)) ? undefined : "vote-ballot-signature";
}

/** Whether the authority signed the notice. */
export async function verifyNotice(notice: Notice, manifest: Manifest): Promise<boolean> {
  const body = concat(Uint8Array.of(notice.key === "main" ? 0 : 1), notice.encoded);
  return verifyEd25519(manifest.authority[notice.key], signedBytes("tallyroot/v1/notice", manifest, body), notice.signature);
}
