// What registrars and cells answer, held against what is signed. Nothing is believed: an answer counts by its proofs alone.
import {
  type Bytes, type LogId, type Manifest, VerifierError, equal, fromBase64, fromHex, keysOf, leafHash, openCheckpoint, originOf, parseEntry, parseTlogProof, prefixOf, sha256, utf8, verifyInclusion,
  voteFault,
} from "../../../../verifier/src/index.js";
import { type Source, Unreachable } from "../../worker/source.js";
import type { OnRoll, ProblemId } from "../messages.js";
import { findSwitches } from "./switches.js";

/** An answer that does not hold. */
export class Untrue extends Error {
  readonly id: ProblemId;

  constructor(id: ProblemId, message: string) {
    super(message);
    this.id = id;
  }
}

/** Runs `check`; what the verifier refuses in it is an untrue answer of this kind. */
export async function untrueAs<T>(id: ProblemId, check: () => Promise<T>): Promise<T> {
  try {
    return await check();
  } catch (error) {
    throw error instanceof VerifierError ? new Untrue(id, `${error.code}: ${error.message}`) : error;
  }
}

const text = (value: unknown): string => (typeof value === "string" ? value : "");
const record = (value: unknown): Record<string, unknown> => (typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {});

/** The entry of a `.tlog-proof` under the log's key that is in force. */
async function provenEntry(source: Source, manifest: Manifest, log: LogId, proofOf: unknown, index: unknown): Promise<Bytes> {
  const proof = parseTlogProof(utf8(text(proofOf)));
  const entry = proof.extra;
  if (entry === undefined || Number(proof.index) !== index) throw new VerifierError("tlog-proof", "no entry, or another index");
  const checkpoint = await openCheckpoint(proof.checkpoint, originOf(manifest, log), keysOf(manifest, log));
  if (checkpoint.key === "spare") {
    const found = (await findSwitches(source, manifest, [log])).find((one) => prefixOf(one.log) === prefixOf(log));
    // A copy of the heads log that lags does not hold the notice yet: that is waited for, and the entry is not believed before.
    if (found === undefined) throw new Unreachable("signed by the spare key, and the heads log that is shown holds no notice of it yet");
    if (checkpoint.size <= found.size) throw new VerifierError("checkpoint", "signed by the spare key, below the size from which a notice allows it");
  }
  await verifyInclusion(await leafHash(entry), proof.index, checkpoint, proof.hashes);
  return entry;
}

/** A registrar's answer: the blind signature, once the issuance and the place on the roll are proven, and in whose name it was issued: only the voter can tell whether that is she. */
export async function checkIssued(source: Source, manifest: Manifest, registrar: number, blinded: Bytes, body: Record<string, unknown>): Promise<{ readonly blind: Bytes; readonly onRoll: OnRoll }> {
  return untrueAs("issuance", async () => {
    const [issuance, roll] = [record(body["issuance"]), record(body["roll"])];
    const shard = issuance["shard"];
    if (typeof shard !== "number" || manifest.registrars[registrar]?.shards[shard] === undefined) throw new VerifierError("issuance", "no such shard");
    const bytes = await provenEntry(source, manifest, { kind: "issuance", registrar, shard }, issuance["proof"], issuance["index"]);
    const entry = parseEntry(bytes, manifest);
    if (entry.type !== "issuance" || Number(entry.rollIndex) !== roll["index"] || !equal(entry.digest, await sha256(blinded))) throw new VerifierError("issuance", "an issuance for somebody else");
    const onRoll = { identity: text(roll["identity"]), index: Number(entry.rollIndex), salt: text(roll["salt"]) };
    const commitment = await sha256(utf8("tallyroot/v1/roll\0"), fromHex(onRoll.salt, 32), utf8(onRoll.identity));
    const path = Array.isArray(roll["proof"]) ? roll["proof"].map((hash) => fromBase64(text(hash), 32)) : [];
    await verifyInclusion(await leafHash(commitment), entry.rollIndex, { size: BigInt(manifest.roll.size), root: manifest.roll.root }, path);
    return { blind: fromBase64(text(body["blind_signature"])), onRoll };
  });
}

/** A cell's answer to a cast: the proof of a vote that holds this device's key and ballot. `ours` false: the proof that another ballot was first. */
export async function checkRecorded(source: Source, manifest: Manifest, cell: number, sent: Bytes, body: Record<string, unknown>, ours: boolean): Promise<string> {
  const mine = parseEntry(sent, manifest);
  const bytes = await untrueAs("notProven", () => provenEntry(source, manifest, { kind: "cell", cell }, body["proof"], body["index"]));
  const stored = await untrueAs("notProven", async () => parseEntry(bytes, manifest));
  if (mine.type !== "vote" || stored.type !== "vote") throw new Untrue("wrongPlace", "the proof is for something else than a vote");
  if (!equal(stored.key, mine.key)) throw new Untrue("wrongVoter", "the proof is for another credential");
  if (equal(stored.ballot, mine.ballot) !== ours) throw new Untrue("wrongBallot", ours ? "the stored vote holds another ballot" : "the ballot that was first is this very one");
  const fault = await voteFault(stored, manifest);
  if (fault !== undefined) throw new Untrue("wrongBallot", fault);
  return text(body["proof"]);
}
