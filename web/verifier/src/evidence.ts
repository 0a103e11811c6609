import { type Bytes, equal, fromBase64, fromHex, utf8 } from "./bytes.js";
import { type KeyName, type TreeHead, parseBody } from "./checkpoint.js";
import { type Head, parseEntry } from "./entry.js";
import { VerifierError, fail, renamed, renamedAsync } from "./error.js";
import { type Json, Members, asString, parseCanonical } from "./json.js";
import { HEADS, type LogId, headLogs, keysOf, originOf, prefixOf } from "./logs.js";
import { type Manifest, openManifest } from "./manifest.js";
import { leafHash, verifyConsistency, verifyInclusion } from "./merkle.js";
import { logKey, parseNote, verifyLine } from "./note.js";
import { parseTlogProof } from "./proof.js";
import { type Receipt, verifyReceipt } from "./receipt.js";

const MAX_SPLIT_VIEW = 1 << 22;
const MAX_DISPUTE = 1 << 24;

/** A checkpoint as evidence: which of the log's keys signed it does not matter, for both bind the operator. */
export interface SignedHead extends TreeHead { readonly key: KeyName }

/** Reads a note as section 17 does: by the line that is named after the origin; other lines are not looked at. */
async function openEvidence(bytes: Bytes, log: LogId, manifest: Manifest): Promise<SignedHead> {
  const note = parseNote(bytes);
  const origin = originOf(manifest, log);
  const head = parseBody(note.text, origin);
  const keys = keysOf(manifest, log);
  for (const line of note.signatures.filter(({ name }) => name === origin)) {
    for (const key of ["main", "spare"] as const) {
      if (await verifyLine(note.text, line, await logKey(origin, keys[key]))) return { ...head, key };
    }
  }
  return fail("evidence", "a checkpoint that no key of the log signed");
}

/** A root, and the proof that leads from it. The members are texts first: what they hold is read where a rule needs it. */
class Way {
  private readonly proof: readonly string[];
  private readonly from: string;

  constructor(members: Members) {
    this.proof = members.array("proof").map((value) => asString(value, "hash"));
    this.from = members.string("root");
  }

  /** The root, where the proof leads from it at `size` to this tree. */
  async leads(size: bigint, to: TreeHead): Promise<Bytes> {
    const root = fromBase64(this.from, 32);
    // A consistency proof in a tree of 64-bit size has at most 65 hashes.
    if (this.proof.length > 65) fail("evidence", "a proof of too many hashes");
    await verifyConsistency({ size, root }, to, this.proof.map((hash) => fromBase64(hash, 32)));
    return root;
  }

  /** Checks that there is nothing to prove: the root is this one, and the proof is empty. */
  stays(root: Bytes): void {
    if (this.proof.length > 0 || !equal(fromBase64(this.from, 32), root)) fail("evidence", "a proof where there is none to give, or another root");
  }
}

/** What a split view proves: a log's keys signed two histories. */
export interface SplitView { readonly log: LogId; readonly older: SignedHead; readonly newer: SignedHead }

/** Verifies a split-view file. Refusals have the code `split-view`: such a file proves nothing. */
export async function verifySplitView(bytes: Bytes, election: string): Promise<SplitView> {
  return renamedAsync("split-view", async () => {
    if (bytes.length > MAX_SPLIT_VIEW) fail("split-view", "more than 4 MiB");
    const members = new Members(parseCanonical(bytes), "split view", ["election", "format", "manifest", "newer", "older", "proof", "root"]);
    if (members.string("format") !== "tallyroot/v1/split-view") fail("split-view", "another format");
    fromHex(election, 32);
    if (members.string("election") !== election) fail("split-view", "of another election");
    const manifest = await openManifest(utf8(members.string("manifest")), election);
    const texts = { older: utf8(members.string("older")), newer: utf8(members.string("newer")) };
    const log = logNamed(parseNote(texts.older).text.split("\n")[0] ?? "", manifest);
    const older = await openEvidence(texts.older, log, manifest);
    const newer = await openEvidence(texts.newer, log, manifest);
    if (older.size < 1n) fail("split-view", "an empty log has one history");
    const root = await new Way(members).leads(older.size, newer);
    if (equal(root, older.root)) fail("split-view", "one history");
    return { log, older, newer };
  });
}

function logNamed(origin: string, manifest: Manifest): LogId {
  return [HEADS, ...headLogs(manifest)].find((log) => originOf(manifest, log) === origin) ?? fail("evidence", "a checkpoint of no log of the election");
}

export type Ruling = "invalid-receipt" | "not-shown" | "rolled-back" | "held" | "covered" | "counted" | "dropped" | "split-view";

/** What a dispute file shows, and of whom. */
export interface Dispute {
  readonly ruling: Ruling;
  readonly receipt: Receipt | undefined;
  /** The logs of which it shows two histories. */
  readonly logs: readonly string[];
  /** Whether an exhibit is an older copy: of a log that was rolled back, or of a source that lags. */
  readonly rolledBack: boolean;
  /** Whether the ruling decides nothing for whoever did not ask the source himself: the exit code 2 of section 17. */
  readonly undecided: boolean;
}

/** What rests on signatures alone, whatever else the file shows. */
const CONVICTS: ReadonlySet<Ruling> = new Set(["invalid-receipt", "dropped", "split-view"]);

function disputed(ruling: Ruling, receipt: Receipt | undefined, logs: readonly string[], rolledBack: boolean, headShown: boolean): Dispute {
  const open = ruling === "not-shown" || rolledBack || (ruling === "held" && !headShown);
  return { ruling, receipt, logs, rolledBack, undecided: open && !CONVICTS.has(ruling) };
}

interface Shown { readonly rolledBack: boolean; readonly held: boolean; readonly split: boolean }

/** Verifies a dispute file, and gives its ruling. Refusals have the code `dispute`: such a file proves nothing. */
export async function verifyDispute(bytes: Bytes, election: string): Promise<Dispute> {
  return renamedAsync("dispute", async () => {
    if (bytes.length > MAX_DISPUTE) fail("dispute", "more than 16 MiB");
    const members = new Members(parseCanonical(bytes), "dispute", ["election", "format", "head", "heads", "ledger", "receipt"]);
    if (members.string("format") !== "tallyroot/v1/dispute") fail("dispute", "another format");
    fromHex(election, 32);
    if (members.string("election") !== election) fail("dispute", "of another election");
    const exhibits = { head: parseHead(members.get("head")), heads: parseExhibit(members.get("heads")), ledger: parseExhibit(members.get("ledger")) };
    const receipt = await openReceipt(utf8(members.string("receipt")), election);
    if (receipt === undefined) return disputed("invalid-receipt", undefined, [], false, false);
    return rule(receipt, exhibits);
  });
}

async function openReceipt(bytes: Bytes, election: string): Promise<Receipt | undefined> {
  try {
    return await verifyReceipt(bytes, election);
  } catch (error) {
    if (error instanceof VerifierError) return undefined;
    throw error;
  }
}

interface Exhibit { readonly checkpoint: Bytes; readonly way: Way }
interface HeadExhibit { readonly head: Bytes; readonly way: Way }

function parseExhibit(value: Json): Exhibit | undefined {
  if (value === null) return undefined;
  const members = new Members(value, "exhibit", ["checkpoint", "proof", "root"]);
  return { checkpoint: utf8(members.string("checkpoint")), way: new Way(members) };
}

function parseHead(value: Json): HeadExhibit | undefined {
  if (value === null) return undefined;
  const members = new Members(value, "head", ["head", "proof", "root"]);
  return { head: utf8(members.string("head")), way: new Way(members) };
}

interface Exhibits { readonly head: HeadExhibit | undefined; readonly heads: Exhibit | undefined; readonly ledger: Exhibit | undefined }

async function rule(receipt: Receipt, exhibits: Exhibits): Promise<Dispute> {
  const { manifest, checkpoint, seal } = receipt;
  const cell: LogId = { kind: "cell", cell: receipt.cell };
  if (exhibits.heads !== undefined && seal === undefined) fail("dispute", "the heads log, without a seal to hold against it");
  const ledger = exhibits.ledger && (await show(exhibits.ledger, cell, checkpoint, manifest));
  const heads = exhibits.heads && seal && (await show(exhibits.heads, HEADS, seal.heads, manifest));
  const head = exhibits.head && (await showHead(exhibits.head, receipt));

  const logs = new Set<string>();
  if (ledger?.split === true || head?.split === true) logs.add(prefixOf(cell));
  if (heads?.split === true) logs.add(prefixOf(HEADS));
  // The last of these that holds.
  let ruling: Ruling = "not-shown";
  const rolledBack = ledger?.rolledBack === true || heads?.rolledBack === true;
  if (rolledBack) ruling = "rolled-back";
  if (ledger?.held === true) ruling = "held";
  if (head?.covers === true) ruling = head.type === "final-head" ? "counted" : "covered";
  if (head?.beyond === true && head.type === "final-head") ruling = "dropped";
  if (logs.size > 0) ruling = "split-view";
  return disputed(ruling, receipt, [...logs], rolledBack, head !== undefined);
}

/** What a log shows beside a checkpoint that the receipt holds. */
async function show(exhibit: Exhibit, log: LogId, held: TreeHead, manifest: Manifest): Promise<Shown> {
  const now = await openEvidence(exhibit.checkpoint, log, manifest);
  if (now.size < held.size) {
    exhibit.way.stays(now.root);
    return { rolledBack: true, held: false, split: false };
  }
  const same = equal(await exhibit.way.leads(held.size, now), held.root);
  return { rolledBack: false, held: same, split: !same };
}

interface ShownHead { readonly type: Head["type"]; readonly covers: boolean; readonly beyond: boolean; readonly split: boolean }

/** What a head says of the receipt's vote. */
async function showHead(exhibit: HeadExhibit, { manifest, cell, index, checkpoint }: Receipt): Promise<ShownHead> {
  const proof = parseTlogProof(exhibit.head);
  const extra = proof.extra ?? fail("dispute", "a head's proof without its entry");
  const entry = renamed("dispute", () => parseEntry(extra, manifest));
  if (entry.type !== "head" && entry.type !== "final-head") return fail("dispute", "an entry that is no head");
  await verifyInclusion(await leafHash(extra), proof.index, await openEvidence(proof.checkpoint, HEADS, manifest), proof.hashes);
  const named = entry.logs[cell] ?? fail("dispute", "a head without the cell");
  if (index >= named.size) {
    exhibit.way.stays(named.root);
    return { type: entry.type, covers: false, beyond: true, split: false };
  }
  // Of equal sizes, the head's counts as the smaller.
  const [smaller, larger] = checkpoint.size < named.size ? [checkpoint, named] : [named, checkpoint];
  const same = equal(await exhibit.way.leads(smaller.size, larger), smaller.root);
  return { type: entry.type, covers: same, beyond: false, split: !same };
}
