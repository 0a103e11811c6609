import { type Bytes, equal, fromHex, toHex, utf8 } from "./bytes.js";
import { type Checkpoint, type KeyName, openCheckpoint, openCosigned } from "./checkpoint.js";
import { type NoticeBody, type Vote, cellOf, parseEntry, verifyNotice, voteFault } from "./entry.js";
import { fail, renamed, renamedAsync } from "./error.js";
import { type Json, Members, asString, parseCanonical } from "./json.js";
import { HEADS, type LogId, keysOf, originOf, sameLog } from "./logs.js";
import { type Manifest, openManifest } from "./manifest.js";
import { leafHash, verifyInclusion } from "./merkle.js";
import { type TlogProof, parseTlogProof } from "./proof.js";

/** A witness's word: its name, and the second at which it saw the checkpoint. */
export interface Witnessed { readonly name: string; readonly time: bigint }

/** What a sealed receipt proves. */
export interface Seal {
  /** The checkpoint of the cell that the head names. */
  readonly cell: Checkpoint;
  /** The head's index, and whether it is the final one. */
  readonly head: bigint;
  readonly finalHead: boolean;
  /** The head's time, in ms. */
  readonly time: bigint;
  readonly heads: Checkpoint;
  readonly witnesses: readonly Witnessed[];
}

/** What a receipt proves: *recorded*, and with a seal, *sealed*. */
export interface Receipt {
  readonly manifest: Manifest;
  readonly cell: number;
  readonly index: bigint;
  readonly leaf: Bytes;
  readonly vote: Vote;
  /** The checkpoint in `vote`. */
  readonly checkpoint: Checkpoint;
  readonly seal: Seal | undefined;
}

interface Form {
  readonly cell: number;
  readonly election: string;
  readonly manifest: Bytes;
  readonly vote: Bytes;
  readonly switches: readonly Bytes[];
  readonly final: { readonly head: Bytes; readonly vote: Bytes } | undefined;
}

type Switch = Extract<NoticeBody, { kind: "switch" }>;

const MAX_RECEIPT = 1 << 22;

function parseForm(bytes: Bytes): Form {
  if (bytes.length > MAX_RECEIPT) fail("malformed", "more than 4 MiB");
  const members = new Members(parseCanonical(bytes), "receipt", ["cell", "election", "final", "format", "manifest", "switches", "vote"]);
  if (members.string("format") !== "tallyroot/v1/receipt") fail("malformed", "another format");
  const election = members.string("election");
  fromHex(election, 32);
  return {
    cell: members.integer("cell"), election, manifest: utf8(members.string("manifest")), vote: utf8(members.string("vote")),
    switches: members.array("switches").map((text) => utf8(asString(text, "switch"))),
    final: parseFinal(members.get("final")),
  };
}

function parseFinal(value: Json): Form["final"] {
  if (value === null) return undefined;
  const members = new Members(value, "final", ["head", "vote"]);
  return { head: utf8(members.string("head")), vote: utf8(members.string("vote")) };
}

/** Verifies a receipt against the election id (hex) that the verifier was given. A refusal's code says which part does not hold. */
export async function verifyReceipt(bytes: Bytes, election: string): Promise<Receipt> {
  const form = renamed("malformed", () => parseForm(bytes));
  if (form.election !== election) fail("other-election", "a receipt of another election");
  const manifest = await openManifest(form.manifest, election);
  const { cell } = form;
  if (cell >= manifest.cells.length) fail("wrong-cell", "a cell that the election does not have");
  const proof = renamed("vote-proof", () => parseTlogProof(form.vote));
  const extra = proof.extra ?? fail("vote-proof", "a proof without its entry");
  const vote = await openVote(extra, cell, manifest);
  const leaf = await leafHash(extra);
  const switches = await Switches.open(form.switches, cell, manifest);
  const checkpoint = await renamedAsync("vote-proof", () => switches.openCell(proof, leaf));
  const seal = form.final && (await openSeal(form.final, { extra, index: proof.index, leaf, cell }, manifest, switches));
  switches.checkNeeded();
  return { manifest, cell, index: proof.index, leaf, vote, checkpoint, seal };
}

async function openVote(extra: Bytes, cell: number, manifest: Manifest): Promise<Vote> {
  const entry = renamed("vote", () => parseEntry(extra, manifest));
  if (entry.type !== "vote") return fail("vote", "an entry that is no vote");
  const fault = await voteFault(entry, manifest);
  if (fault !== undefined) fail("vote", fault);
  if ((await cellOf(entry.key, manifest)) !== cell) fail("wrong-cell", "a vote of another cell");
  return entry;
}

interface Recorded { readonly extra: Bytes; readonly index: bigint; readonly leaf: Bytes; readonly cell: number }

async function openSeal(final: NonNullable<Form["final"]>, vote: Recorded, manifest: Manifest, switches: Switches): Promise<Seal> {
  const cell = await renamedAsync("seal-proof", async () => {
    const proof = parseTlogProof(final.vote);
    if (proof.extra === undefined || !equal(proof.extra, vote.extra) || proof.index !== vote.index) fail("seal-proof", "another vote, or another place");
    return switches.openCell(proof, vote.leaf);
  });
  const { heads, head, index, witnesses } = await renamedAsync("head-proof", async () => {
    const proof = parseTlogProof(final.head);
    const extra = proof.extra ?? fail("head-proof", "a proof without its entry");
    const entry = parseEntry(extra, manifest);
    if (entry.type !== "head" && entry.type !== "final-head") return fail("head-proof", "an entry that is no head");
    const opened = await switches.openHeads(proof, await leafHash(extra), true);
    return { ...opened, head: entry, index: proof.index };
  });
  const { quorum } = manifest.witnesses;
  if (witnesses.length < quorum) fail("quorum", `${witnesses.length} of ${quorum} witnesses`);
  const named = head.logs[vote.cell];
  if (named === undefined || named.size !== cell.size || !equal(named.root, cell.root)) fail("head-mismatch", "the head names another size or root");
  return { cell, head: index, finalHead: head.type === "final-head", time: head.time, heads, witnesses };
}

/** The switch notices of a receipt: which key may sign a checkpoint follows from them. */
class Switches {
  private readonly cellNeeded = { needed: false };
  private readonly headsNeeded = { needed: false };
  private readonly manifest: Manifest;
  private readonly cell: LogId;
  private readonly ofCell: Switch | undefined;
  private readonly ofHeads: Switch | undefined;

  private constructor(manifest: Manifest, cell: LogId, ofCell: Switch | undefined, ofHeads: Switch | undefined) {
    this.manifest = manifest;
    this.cell = cell;
    this.ofCell = ofCell;
    this.ofHeads = ofHeads;
  }

  static async open(texts: readonly Bytes[], cell: number, manifest: Manifest): Promise<Switches> {
    return renamedAsync("switch", async () => {
      const log: LogId = { kind: "cell", cell };
      if (texts.length > 2) fail("switch", "more switches than logs");
      const notices = await Promise.all(texts.map((text) => openNotice(text, manifest)));
      const ofCell = notices.find(({ body }) => sameLog(body.log, log));
      const ofHeads = notices.find(({ body }) => sameLog(body.log, HEADS));
      const right = [ofCell, ofHeads].filter((notice) => notice !== undefined);
      if (right.length !== notices.length || right.some((notice, i) => notice !== notices[i])) fail("switch", "a switch of another log, twice, or not in order");
      const switches = new Switches(manifest, log, ofCell?.body, ofHeads?.body);
      if (ofHeads !== undefined) {
        if (ofHeads.body.size !== ofHeads.proof.index) fail("switch", "a switch of the heads log that stands elsewhere than it says");
        await switches.openHeads(ofHeads.proof, ofHeads.leaf, false);
      }
      if (ofCell !== undefined) await switches.openHeads(ofCell.proof, ofCell.leaf, true);
      return switches;
    });
  }

  /** Checks a proof under a checkpoint of the receipt's cell, signed by the key that the switches name. */
  async openCell(proof: TlogProof, leaf: Bytes): Promise<Checkpoint> {
    const checkpoint = await openCheckpoint(proof.checkpoint, originOf(this.manifest, this.cell), keysOf(this.manifest, this.cell));
    checkKey(checkpoint, this.ofCell, this.cellNeeded);
    await verifyInclusion(leaf, proof.index, checkpoint, proof.hashes);
    return checkpoint;
  }

  /** The same for the heads log, where cosignatures may stand below. `counts`: whether the checkpoint makes a switch of the heads log needed. */
  async openHeads(proof: TlogProof, leaf: Bytes, counts: boolean): Promise<{ heads: Checkpoint; witnesses: Witnessed[] }> {
    const { keys } = this.manifest.witnesses;
    const heads = await openCosigned(proof.checkpoint, originOf(this.manifest, HEADS), keysOf(this.manifest, HEADS), keys);
    checkKey(heads, this.ofHeads, counts ? this.headsNeeded : { needed: false });
    await verifyInclusion(leaf, proof.index, heads, proof.hashes);
    return { heads, witnesses: heads.cosignatures.map(({ witness, time }) => ({ name: keys[witness]?.name ?? "", time })) };
  }

  checkNeeded(): void {
    const idle = (notice: Switch | undefined, { needed }: { needed: boolean }): boolean => notice !== undefined && !needed;
    if (idle(this.ofCell, this.cellNeeded) || idle(this.ofHeads, this.headsNeeded)) fail("switch", "a switch that no checkpoint needs");
  }
}

function checkKey(checkpoint: Checkpoint, notice: Switch | undefined, use: { needed: boolean }): void {
  const right: KeyName = notice !== undefined && checkpoint.size > notice.size ? "spare" : "main";
  if (checkpoint.key !== right) fail("checkpoint", `signed by the ${checkpoint.key} key, where it must be the ${right} one`);
  if (right === "spare") use.needed = true;
}

async function openNotice(text: Bytes, manifest: Manifest): Promise<{ proof: TlogProof; leaf: Bytes; body: Switch }> {
  const proof = parseTlogProof(text);
  const extra = proof.extra ?? fail("switch", "a proof without its entry");
  const entry = parseEntry(extra, manifest);
  if (entry.type !== "notice" || entry.body.kind !== "switch") return fail("switch", "an entry that is no switch");
  if (!(await verifyNotice(entry, manifest))) fail("switch", "a notice that the authority did not sign");
  return { proof, leaf: await leafHash(extra), body: entry.body };
}

/** What a voter chose, in words: each contest's name and the names of the options. */
export function choicesInWords({ vote, manifest }: Receipt): (readonly [string, readonly string[]])[] {
  return manifest.contests.map(({ name, options }, i) => [name, (vote.choices[i] ?? []).map((option) => options[option] ?? "")] as const);
}

/** The credential key of a receipt's vote, in hex. */
export function credentialOf({ vote }: Receipt): string {
  return toHex(vote.key);
}
