// Which of a log's two keys is in force, by the authority's notices. As a rule no log was ever switched: notices are read only where a spare key has signed.
import { HEADS, type LogId, type Manifest, VerifierError, parseEntry, prefixOf, verifyNotice } from "../../../../verifier/src/index.js";
import { type Source, Unreachable } from "../../worker/source.js";
import { Ledger } from "./ledger.js";

const PIECE = 1_024n;

export interface Switch { readonly log: LogId; readonly size: bigint; readonly index: bigint; readonly proof: string; readonly under: bigint }

/** A log is switched once, and a log only grows: what was found stays, and what was looked through holds no more. */
interface Known { readonly found: Map<string, Switch>; readonly looked: Map<string, bigint> }
const known = new WeakMap<Source, Known>();

/** The switch notices of these logs in the newest heads log, the last first read; of the heads log itself, where its newest checkpoint is signed by the spare. */
export async function findSwitches(source: Source, manifest: Manifest, logs: readonly LogId[]): Promise<Switch[]> {
  const heads = new Ledger(source, manifest, HEADS);
  const tree = await heads.newest();
  if (tree === undefined) throw new Unreachable("no heads log");
  const { found, looked } = known.get(source) ?? { found: new Map<string, Switch>(), looked: new Map<string, bigint>() };
  known.set(source, { found, looked });
  const asked = logs.filter((log) => log.kind !== "heads" || tree.key === "spare").map(prefixOf);
  const wanted = new Set(asked.filter((log) => !found.has(log)));
  const least = (): bigint => [...wanted].map((log) => looked.get(log) ?? 0n).reduce((one, other) => (one < other ? one : other), tree.size);
  for (let end = tree.size; end > least(); ) {
    const start = end - least() > PIECE ? end - PIECE : least();
    const entries = await heads.entries(tree, start, end);
    for (const [i, bytes] of entries.entries()) {
      const entry = parseEntry(bytes, manifest);
      if (entry.type !== "notice" || entry.body.kind !== "switch" || !wanted.has(prefixOf(entry.body.log))) continue;
      if (!(await verifyNotice(entry, manifest))) throw new VerifierError("notice", "a switch that the authority did not sign");
      const index = start + BigInt(i);
      const log = prefixOf(entry.body.log);
      found.set(log, { log: entry.body.log, size: entry.body.size, index, proof: await heads.proofOf(index, tree), under: tree.size });
      wanted.delete(log);
    }
    end = start;
  }
  for (const log of wanted) looked.set(log, tree.size);
  return asked.flatMap((log) => found.get(log) ?? []);
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
