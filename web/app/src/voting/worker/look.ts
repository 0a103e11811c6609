// A receipt beside what the ledger shows now: a dispute file (protocol, section 17), and its ruling. The same file is given to third parties where it does not hold.
import {
  HEADS, type LogId, type Receipt, type TreeHead, VerifierError, canonicalText, parseEntry, toBase64, utf8, verifyDispute, verifyNotice,
} from "../../../../verifier/src/index.js";
import { Source, Unreachable } from "../../worker/source.js";
import type { VerdictId } from "../messages.js";
import { Ledger, type Noted } from "./ledger.js";
import { type FoundHead, type Rules, newestHead } from "./receipts.js";

/** A cache on the way may show an older state for a while: nobody is blamed before so many looks. */
const [LOOKS, LOOK_MS] = [6, 2_000];
const NOTICES_BACK = 1_024n;

export interface Look { readonly id: VerdictId; readonly dispute: string; readonly cancelled: boolean; readonly detail: string }

type Exhibit = { readonly checkpoint: string; readonly proof: readonly string[]; readonly root: string };

export async function look(source: Source, rules: Rules, receipt: Receipt, text: string): Promise<Look> {
  const cell: LogId = { kind: "cell", cell: receipt.cell };
  const [heads, votes] = [new Ledger(source, rules.manifest, HEADS), new Ledger(source, rules.manifest, cell)];
  const sealed = receipt.seal?.heads;
  // The heads log before the cell, so that every size that a head names has been reached.
  const headsTree = await patiently(heads, sealed?.size ?? 0n);
  const head = headsTree && (await newestHead(heads, headsTree));
  const tree = await patiently(votes, receipt.checkpoint.size);
  if (tree === undefined) throw new Unreachable("no ledger");
  const exhibits = {
    head: headsTree && head && (await headExhibit(heads, votes, headsTree, head, tree, receipt)),
    heads: headsTree && sealed && (await exhibit(heads, headsTree, sealed)),
    ledger: await exhibit(votes, tree, receipt.checkpoint),
  };
  const dispute = canonicalText({
    election: rules.id, format: "tallyroot/v1/dispute", head: exhibits.head ?? null, heads: exhibits.heads ?? null, ledger: exhibits.ledger, receipt: text,
  });
  const judged = await verifyDispute(utf8(dispute), rules.id);
  const names: Readonly<Record<string, VerdictId>> = {
    counted: "counted", covered: "covered", held: "held", dropped: "dropped", "split-view": "splitView", "rolled-back": "rolledBack", "not-shown": "undecided", "invalid-receipt": "invalid",
  };
  const convicted = judged.ruling === "dropped" || judged.ruling === "split-view" || judged.ruling === "invalid-receipt";
  const id = convicted ? names[judged.ruling] : judged.rolledBack ? "rolledBack" : judged.undecided ? "undecided" : names[judged.ruling];
  return { id: id ?? "undecided", dispute, cancelled: headsTree !== undefined && (await cancelled(heads, headsTree)), detail: `${judged.ruling} ${judged.logs.join(" ")}`.trim() };
}

async function patiently(log: Ledger, size: bigint): Promise<Noted | undefined> {
  for (let looks = 1; ; looks++) {
    const newest = await log.newest();
    if (newest === undefined || newest.size >= size || looks >= LOOKS) return newest;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

/** How a log that is shown now continues a tree that the receipt holds. */
async function exhibit(log: Ledger, now: Noted, held: TreeHead): Promise<Exhibit> {
  if (now.size <= held.size) return { checkpoint: now.note, proof: [], root: toBase64(now.root) };
  const proofs = await log.proofs(now, [], [held.size]);
  const proof = await proofs.consistency(held.size, now.size);
  return { checkpoint: now.note, proof: proof.map(toBase64), root: toBase64(await proofs.root(held.size)) };
}

/** What the newest head says of the vote; undefined where the cell does not show the trees between. */
async function headExhibit(heads: Ledger, votes: Ledger, headsTree: Noted, { index, head }: FoundHead, tree: Noted, receipt: Receipt): Promise<{ head: string; proof: string[]; root: string } | undefined> {
  const named = head.logs[receipt.cell];
  if (named === undefined) return undefined;
  const text = await heads.proofOf(index, headsTree);
  if (receipt.index >= named.size) return { head: text, proof: [], root: toBase64(named.root) };
  const [small, large] = receipt.checkpoint.size < named.size ? [receipt.checkpoint.size, named.size] : [named.size, receipt.checkpoint.size];
  if (large > tree.size) return undefined;
  const proofs = await votes.proofs(tree, [], [small, large]);
  if (large === receipt.checkpoint.size && toBase64(await proofs.root(large)) !== toBase64(receipt.checkpoint.root)) {
    // The receipt's tree is not the one that is published: nothing leads to it from a smaller head, and what convicts is the ledger's exhibit. Of equal sizes, the head's counts as the smaller.
    return small === large ? { head: text, proof: [], root: toBase64(receipt.checkpoint.root) } : undefined;
  }
  const proof = small === large ? [] : await proofs.consistency(small, large);
  return { head: text, proof: proof.map(toBase64), root: toBase64(await proofs.root(small)) };
}

/** Whether the newest notices, signed by the authority, void the election. */
async function cancelled(heads: Ledger, tree: Noted): Promise<boolean> {
  const start = tree.size > NOTICES_BACK ? tree.size - NOTICES_BACK : 0n;
  for (const bytes of await heads.entries(tree, start, tree.size)) {
    const entry = parseEntry(bytes, heads.manifest);
    if (entry.type === "notice" && entry.body.kind === "cancel" && (await verifyNotice(entry, heads.manifest))) return true;
  }
  return false;
}

/** What the published files show may contradict itself: a tile that is not the signed tree's. That is said, and blames no receipt. */
export const damaged = (error: unknown): string | undefined => (error instanceof VerifierError ? `${error.code}: ${error.message}` : undefined);
