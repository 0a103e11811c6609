// Which of a log's two keys is in force, by the authority's notices. As a rule no log was ever switched: notices are read only where a spare key has signed.
import { HEADS, type LogId, type Manifest, VerifierError, parseEntry, prefixOf, verifyNotice } from "../../../../verifier/src/index.js";
import { type Source, Unreachable } from "../../worker/source.js";
import { Ledger } from "./ledger.js";

const PIECE = 1_024n;

export interface Switch { readonly log: LogId; readonly size: bigint; readonly index: bigint; readonly proof: string; readonly under: bigint }

/** The switch notices of these logs in the newest heads log, the last first read. */
export async function findSwitches(source: Source, manifest: Manifest, logs: readonly LogId[]): Promise<Switch[]> {
  const heads = new Ledger(source, manifest, HEADS);
  const tree = await heads.newest();
  if (tree === undefined) throw new Unreachable("no heads log");
  const wanted = new Set(logs.map(prefixOf));
  const found: Switch[] = [];
  for (let end = tree.size; end > 0n && found.length < wanted.size; ) {
    const start = end > PIECE ? end - PIECE : 0n;
    const entries = await heads.entries(tree, start, end);
    for (const [i, bytes] of entries.entries()) {
      const entry = parseEntry(bytes, manifest);
      if (entry.type !== "notice" || entry.body.kind !== "switch" || !wanted.has(prefixOf(entry.body.log))) continue;
      if (!(await verifyNotice(entry, manifest))) throw new VerifierError("notice", "a switch that the authority did not sign");
      const index = start + BigInt(i);
      found.push({ log: entry.body.log, size: entry.body.size, index, proof: await heads.proofOf(index, tree), under: tree.size });
    }
    end = start;
  }
  return found;
}

/** The notices that a receipt needs whose checkpoints have these sizes and keys: the cell's before the heads log's, none that is not needed. */
export async function neededSwitches(source: Source, manifest: Manifest, cell: LogId, spare: { readonly cell: boolean; readonly heads: boolean }): Promise<string[]> {
  if (!spare.cell && !spare.heads) return [];
  const found = await findSwitches(source, manifest, [cell, HEADS]);
  const of = (log: LogId): Switch | undefined => found.find((one) => prefixOf(one.log) === prefixOf(log));
  const ofCell = spare.cell ? of(cell) : undefined;
  const ofHeads = of(HEADS);
  const under = ofCell !== undefined && ofHeads !== undefined && ofCell.under > ofHeads.size;
  return [ofCell, spare.heads || under ? ofHeads : undefined].flatMap((one) => (one === undefined ? [] : [one.proof]));
}
