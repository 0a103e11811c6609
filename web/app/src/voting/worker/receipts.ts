// Receipts in the form of the protocol's section 13: made when a vote is recorded, upgraded when it is sealed, from the published files alone. None leaves here that does not verify.
import {
  type Bytes, type Head, HEADS, type LogId, type Manifest, type Receipt, VerifierError, canonicalText, leafHash, openCheckpoint, equal, keysOf, originOf, parseAnchor, parseEntry,
  parseTlogProof, toBase64, toHex, utf8, verifyReceipt,
} from "../../../../verifier/src/index.js";
import { type Source, Unreachable } from "../../worker/source.js";
import type { ReceiptView } from "../messages.js";
import { Ledger, type Noted, proofText } from "./ledger.js";
import { neededSwitches } from "./switches.js";

const ANCHOR_MAX = 1 << 24;
/** How far back a cosigned tree is looked for: the time of heads that a round of cosigning may take, and at least so many. */
const [COSIGNED_BACK_MS, COSIGNED_BACK_MIN, TOGETHER] = [45_000, 64, 4];
const NOTICES_MAX = 4_096n;
/** No anchor ever holds so many objects: a server that says so says yes to everything. */
const ANCHORED_MAX = 2 ** 40;

export interface Rules { readonly manifest: Manifest; readonly text: string; readonly id: string }

/** The receipt of a vote that is recorded, from the proof that the cell gave. */
export async function recordedReceipt(source: Source, rules: Rules, cell: number, proof: string): Promise<string> {
  const log: LogId = { kind: "cell", cell };
  const { key } = await openCheckpoint(parseTlogProof(utf8(proof)).checkpoint, originOf(rules.manifest, log), keysOf(rules.manifest, log));
  const switches = await neededSwitches(source, rules.manifest, log, { cell: key === "spare", heads: false });
  const text = canonicalText({ cell, election: rules.id, final: null, format: "tallyroot/v1/receipt", manifest: rules.text, switches, vote: proof });
  await verifyReceipt(utf8(text), rules.id);
  return text;
}

/** The sealed receipt, once a head that the rules ask for covers the vote; undefined before that. */
export async function sealedReceipt(source: Source, rules: Rules, known: Receipt, text: string): Promise<string | undefined> {
  const { manifest } = rules;
  const log: LogId = { kind: "cell", cell: known.cell };
  const [heads, votes] = [new Ledger(source, manifest, HEADS), new Ledger(source, manifest, log)];
  const sealing = await newestSealing(heads);
  const found = sealing && (await newestHead(heads, sealing));
  if (sealing === undefined || found === undefined) return undefined;
  const named = found.head.logs[known.cell];
  if (named === undefined || named.size <= known.index) return undefined;
  const { vote } = JSON.parse(text) as { vote: string };
  const tree = await votes.at(named.size);
  if (!equal(tree.root, named.root)) throw new VerifierError("fork", "the head names another tree than the cell shows");
  const [entry] = await votes.entries(tree, known.index, known.index + 1n);
  if (entry === undefined || !equal(await leafHash(entry), known.leaf)) throw new VerifierError("fork", "another entry stands at the receipt's place");
  const switches = await neededSwitches(source, manifest, log, { cell: tree.key === "spare" || known.checkpoint.key === "spare", heads: sealing.key === "spare" });
  const path = await (await votes.proofs(tree, [known.index], [])).inclusion(known.index, tree.size);
  const final = { head: await heads.proofOf(found.index, sealing), vote: proofText(entry, known.index, path, tree.note) };
  const sealed = canonicalText({ cell: known.cell, election: rules.id, final, format: "tallyroot/v1/receipt", manifest: rules.text, switches, vote });
  await verifyReceipt(utf8(sealed), rules.id);
  return sealed;
}

/** The newest tree of the heads log that seals: cosigned by the quorum, or without witnesses held by every anchor. */
async function newestSealing(heads: Ledger): Promise<Noted | undefined> {
  const { keys, quorum } = heads.manifest.witnesses;
  if (keys.length === 0) return newestAnchored(heads);
  const newest = await heads.newest();
  if (newest === undefined) return undefined;
  const back = BigInt(Math.max(Math.floor(COSIGNED_BACK_MS / heads.manifest.headIntervalMs), COSIGNED_BACK_MIN));
  for (let size = newest.size; size > 0n && newest.size - size < back; size -= BigInt(TOGETHER)) {
    const sizes = Array.from({ length: TOGETHER }, (_, i) => size - BigInt(i)).filter((one) => one > 0n);
    const found = await Promise.all(sizes.map((one) => heads.cosigned(one)));
    const sealing = found.find((one) => one !== undefined && one.count >= quorum);
    if (sealing !== undefined) return sealing.tree;
  }
  return quorum === 0 ? newestAnchored(heads) : undefined;
}

async function newestAnchored(heads: Ledger): Promise<Noted | undefined> {
  let least: Noted | undefined;
  for (const name of heads.manifest.anchors) {
    const held = await newestOfAnchor(heads, name);
    if (held === undefined) return undefined;
    if (least === undefined || held.size < least.size) least = held;
  }
  return least;
}

/** Objects are numbered without a gap, so the newest is found by doubling and halving. */
async function newestOfAnchor(heads: Ledger, name: string): Promise<Noted | undefined> {
  const there = (n: number): Promise<boolean> => heads.source.exists(`anchors/${name}/${n}`);
  if (!(await there(0))) return undefined;
  let [low, step] = [0, 1];
  while (await there(low + step)) {
    [low, step] = [low + step, step * 2];
    if (low > ANCHORED_MAX) throw new VerifierError("anchor", "the server shows more objects than there can be");
  }
  for (let high = low + step; high - low > 1; ) {
    const middle = Math.floor((low + high) / 2);
    if (await there(middle)) low = middle;
    else high = middle;
  }
  const object = parseAnchor(await heads.source.need(`anchors/${name}/${low}`, ANCHOR_MAX), heads.manifest);
  return heads.open(object.note);
}

export interface FoundHead { readonly index: bigint; readonly head: Head; readonly entry: Bytes }

/** The newest head below a tree of the heads log. */
export async function newestHead(heads: Ledger, tree: Noted): Promise<FoundHead | undefined> {
  for (let end = tree.size; end > 0n && tree.size - end < NOTICES_MAX; ) {
    const start = end - 1n - ((end - 1n) % 256n);
    const entries = await heads.entries(tree, start, end);
    for (const [i, bytes] of [...entries.entries()].reverse()) {
      const entry = parseEntry(bytes, heads.manifest);
      if (entry.type === "head" || entry.type === "final-head") return { index: start + BigInt(i), head: entry, entry: bytes };
    }
    end = start;
  }
  return undefined;
}

/** A receipt from a vote entry and its place, as a QR code carries them: the proof is made anew from what is published. */
export async function receiptOf(source: Source, rules: Rules, cell: number, index: bigint, entry: Bytes): Promise<string> {
  const votes = new Ledger(source, rules.manifest, { kind: "cell", cell });
  const tree = await votes.newest();
  if (tree === undefined) throw new Unreachable("no ledger");
  // A vote that was cast a moment ago, and a copy that lags: nobody is blamed for that.
  if (index >= tree.size) throw new Unreachable("the ledger that is shown does not reach so far yet");
  const [stored] = await votes.entries(tree, index, index + 1n);
  if (stored === undefined || !equal(stored, entry)) throw new VerifierError("vote-proof", "another entry stands at this place");
  return recordedReceipt(source, rules, cell, await votes.proofOf(index, tree));
}

/** What the page shows of a receipt that verified. */
export function viewOf(receipt: Receipt, text: string): ReceiptView {
  const proof = parseTlogProof(utf8((JSON.parse(text) as { vote: string }).vote));
  const entry = toBase64(proof.extra ?? new Uint8Array(0)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const { seal } = receipt;
  return {
    text, standing: seal === undefined ? "recorded" : seal.finalHead ? "final" : "sealed", cell: receipt.cell, index: Number(receipt.index), credential: toHex(receipt.vote.key),
    choices: receipt.vote.choices, entry,
  };
}
