import { compare, toHex } from "./bytes.js";
import { type Close, type Sums, type Tally, type Vote, cellOf } from "./entry.js";
import { fail } from "./error.js";
import { LogGrammar, type Placed } from "./grammar.js";
import type { Manifest } from "./manifest.js";
import { leafHash } from "./merkle.js";
import { Recount, sameSums } from "./sums.js";

/** A cell's log: `genesis (vote+ tally)* close?`. Signatures are judged apart, with `voteFault`. */
export class CellLog extends LogGrammar {
  private readonly cell: number;
  private readonly voters = new Set<string>();
  private readonly recount: Recount;

  /** `after`: begins behind this tally, at this size; who voted before is not known then. */
  constructor(manifest: Manifest, cell: number, after?: { readonly tally: Tally; readonly size: bigint }) {
    super(manifest, { kind: "cell", cell }, after && { size: after.size, batches: after.tally.batch + 1n, time: after.tally.time });
    this.cell = cell;
    this.recount = new Recount(manifest, after?.tally.sums);
  }

  /** The sums over all votes that were read. */
  sums(): Sums {
    return this.recount.sums();
  }

  protected async read(entries: readonly Placed[], number: bigint): Promise<void> {
    const { votes, end } = checkCellBatch(entries);
    if (end.type === "close") {
      this.checkRoundedTime(end.time, end.index);
      if (end.count !== this.sums().votes) fail("wrong-count", "not the number of votes", end.index);
      return this.end();
    }
    await checkVotes(votes, this.cell, this.manifest, this.voters);
    for (const vote of votes) this.recount.add(vote.choices);
    if (end.batch !== number) fail("tally-batch", "another batch's number", end.index);
    this.checkRoundedTime(end.time, end.index);
    if (!sameSums(end.sums, this.sums())) fail("tally-sum", "not the sum of the votes", end.index);
  }
}

type At<T> = T & Pick<Placed, "index" | "bytes">;

/** The parts of a cell's batch: votes and their tally, or a close alone. */
export function checkCellBatch(entries: readonly Placed[]): { votes: At<Vote>[]; end: At<Tally> | At<Close> } {
  const votes: At<Vote>[] = [];
  for (const [i, { index, bytes, entry }] of entries.entries()) {
    const last = i === entries.length - 1;
    if (entry.type === "close" && entries.length === 1) return { votes, end: { ...entry, index, bytes } };
    if (entry.type === "tally" && last && i > 0) return { votes, end: { ...entry, index, bytes } };
    if (entry.type !== "vote" || last) fail("order", "not votes and then their tally, nor a close alone", index);
    votes.push({ ...entry, index, bytes });
  }
  return fail("order", "an empty batch");
}

/** The rules of a batch's votes among themselves, and against the voters before, who grow by them. */
export async function checkVotes(votes: readonly At<Vote>[], cell: number, manifest: Manifest, voters: Set<string>): Promise<void> {
  const leaves = await Promise.all(votes.map(({ bytes }) => leafHash(bytes)));
  for (const [i, vote] of votes.entries()) {
    const [before, leaf] = [leaves[i - 1], leaves[i]];
    if (before !== undefined && leaf !== undefined && compare(before, leaf) >= 0) fail("unsorted", "leaf hashes do not ascend", vote.index);
    if ((await cellOf(vote.key, manifest)) !== cell) fail("wrong-cell", "a vote of another cell", vote.index);
    const key = toHex(vote.key);
    if (voters.has(key)) fail("duplicate-vote", "a credential's second vote", vote.index);
    voters.add(key);
  }
}
