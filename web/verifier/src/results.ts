import type { Choices } from "./ballot.js";
import { type Bytes, toHex, utf8 } from "./bytes.js";
import type { KeyName } from "./checkpoint.js";
import { type Winner, type Round, highest, runOff } from "./count.js";
import { type Sums, type Tally, parseEntry } from "./entry.js";
import { fail, renamed, renamedAsync } from "./error.js";
import { type Json, Members, type Writable, asArray, canonicalText, parseCanonical } from "./json.js";
import { type LogId, keysOf, originOf } from "./logs.js";
import type { Contest, Manifest } from "./manifest.js";
import { leafHash } from "./merkle.js";
import { parseTlogProof, verifyTlogProof } from "./proof.js";
import { addSums, rankingsOf } from "./sums.js";

export type Status = "open" | "final" | "cancelled";

export interface CellResult { readonly proof: string | undefined; readonly size: number }

export interface ContestResult {
  readonly blanks: number;
  readonly counts: readonly number[];
  readonly rounds: readonly Round[] | undefined;
  readonly tieBroken: boolean | undefined;
  readonly winner: number | undefined;
}

/** results.json (section 12), free of contradictions. Whether it is true is another question. */
export interface Results {
  readonly status: Status;
  readonly votes: number;
  readonly abstentions: number;
  readonly cells: readonly CellResult[];
  readonly contests: readonly ContestResult[];
}

const MAX_RESULTS = 1 << 28;
const refuse = (message: string): never => fail("results", message);
const sum = (counts: readonly (number | undefined)[]): number => counts.reduce<number>((total, count) => total + (count ?? 0), 0);

/** Reads results.json; refuses what contradicts the manifest or itself. */
export function parseResults(bytes: Bytes, manifest: Manifest): Results {
  return renamed("results", () => parse(bytes, manifest));
}

function parse(bytes: Bytes, manifest: Manifest): Results {
  if (bytes.length > MAX_RESULTS) refuse("more than 256 MiB");
  const members = new Members(parseCanonical(bytes), "results", ["abstentions", "cells", "contests", "election", "format", "status", "votes"]);
  if (members.string("format") !== "tallyroot/v1/results") refuse("another format");
  if (members.string("election") !== toHex(manifest.election)) refuse("of another election");
  const status = members.string("status");
  if (status !== "open" && status !== "final" && status !== "cancelled") return refuse("an unknown status");
  const [votes, abstentions] = [members.integer("votes"), members.integer("abstentions")];
  if (abstentions > votes) refuse("more abstentions than votes");
  const cells = members.array("cells");
  if (cells.length !== manifest.cells.length) refuse("not the election's cells");
  const contests = members.array("contests");
  if (contests.length !== manifest.contests.length) refuse("not the election's contests");
  return {
    status, votes, abstentions,
    cells: cells.map((cell, k) => parseCell(cell, k, status)),
    contests: manifest.contests.map((contest, i) => parseContest(contests[i] ?? null, contest, { status, votes, abstentions })),
  };
}

function parseCell(value: Json, cell: number, status: Status): CellResult {
  const members = new Members(value, "cell", ["cell", "proof", "size"]);
  const [proof, size] = [members.optionalString("proof"), members.integer("size")];
  if (members.integer("cell") !== cell) refuse("cells not in order");
  if (status === "final" && size === 0) refuse("a final size of 0");
  if (proof === undefined && size > 2) refuse("a size that has a tally, and no proof of it");
  if (proof !== undefined && (size < 3 || parseTlogProof(utf8(proof)).index >= BigInt(size))) refuse("a proof of what the size cannot hold");
  return { proof, size };
}

type Totals = Pick<Results, "status" | "votes" | "abstentions">;

function parseContest(value: Json, contest: Contest, totals: Totals): ContestResult {
  const members = new Members(value, "contest", ["blanks", "counts", "name", "options", "rounds", "tie_broken", "winner"]);
  if (members.string("name") !== contest.name) refuse("another contest's name");
  const options = members.array("options");
  if (options.length !== contest.options.length || options.some((option, i) => option !== contest.options[i])) refuse("other options");
  const blanks = members.integer("blanks");
  if (blanks < totals.abstentions || blanks > totals.votes) refuse("fewer blanks than abstentions, or more than votes");
  const counts = integers(members.array("counts"), options.length).map((count) => count ?? refuse("a count that is null"));
  const marked = totals.votes - blanks;
  if (contest.method === "approval" ? sum(counts) < marked || counts.some((count) => count > marked) : sum(counts) !== marked) {
    refuse("counts that do not fit the votes");
  }
  const tieBroken = members.get("tie_broken") === null ? undefined : members.boolean("tie_broken");
  const winner = members.optionalInteger("winner");
  if (winner !== undefined && winner >= options.length) refuse("a winner that is no option");
  const list = members.get("rounds");
  const rounds = list === null ? undefined : asArray(list, "rounds").map((round) => parseRound(round, options.length, totals.votes));
  if (totals.status !== "final" && (tieBroken !== undefined || winner !== undefined || rounds !== undefined)) refuse("an outcome before the end");
  if (totals.status === "final") {
    if (tieBroken === undefined) refuse("final, without saying whether a tie was broken");
    if ((rounds !== undefined) !== (contest.method === "ranked")) refuse("rounds where none belong, or none where they do");
    if (rounds !== undefined && (rounds.length < 1 || rounds.length > options.length)) refuse("no round, or more rounds than options");
  }
  return { blanks, counts, rounds, tieBroken, winner };
}

function integers(list: readonly Json[], length: number): (number | undefined)[] {
  if (list.length !== length) refuse("not as many counts as options");
  return list.map((count) => (count === null ? undefined : typeof count === "number" ? count : refuse("a count that is no integer")));
}

function parseRound(value: Json, options: number, votes: number): Round {
  const members = new Members(value, "round", ["counts", "eliminated", "exhausted", "tie_broken"]);
  const counts = integers(members.array("counts"), options);
  const [eliminated, exhausted] = [members.optionalInteger("eliminated"), members.integer("exhausted")];
  if (eliminated !== undefined && eliminated >= options) refuse("an eliminated option that is none");
  if (sum(counts) > votes || exhausted > votes) refuse("a round of more ballots than votes");
  return { counts, eliminated, exhausted, tieBroken: members.boolean("tie_broken") };
}

/** What a cell's log gives to the results: its size there, and the newest tally below it with its proof. */
export interface CellSums { readonly size: number; readonly proof: string | undefined; readonly sums: Sums | undefined }

function safe(value: bigint): number {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : refuse("a sum of 2^53 or above");
}

/** The text of results.json that follows from the cells' tallies and, when final, from all ballots. */
export function makeResults(manifest: Manifest, status: Status, cells: readonly CellSums[], ballots: readonly Choices[]): string {
  const total = addSums(manifest, cells.flatMap(({ sums }) => sums ?? []));
  const contests = manifest.contests.map((contest, i): Writable => {
    const counts = (total.contests[i]?.counts ?? []).map(safe);
    const outcome: Winner & { rounds?: readonly Round[] } =
      contest.method === "ranked" ? runOff(contest.options.length, rankingsOf(ballots, i), contest.tieRule) : highest(counts);
    const final = status === "final";
    return {
      blanks: safe(total.contests[i]?.blanks ?? 0n), counts, name: contest.name, options: contest.options,
      rounds: final ? (outcome.rounds?.map(writeRound) ?? null) : null,
      tie_broken: final ? outcome.tieBroken : null,
      winner: final ? (outcome.winner ?? null) : null,
    };
  });
  return canonicalText({
    abstentions: safe(total.abstentions),
    cells: cells.map(({ size, proof }, cell) => ({ cell, proof: proof ?? null, size })),
    contests, election: toHex(manifest.election), format: "tallyroot/v1/results", status, votes: safe(total.votes),
  });
}

function writeRound({ counts, eliminated, exhausted, tieBroken }: Round): Writable {
  return { counts: counts.map((count) => count ?? null), eliminated: eliminated ?? null, exhausted, tie_broken: tieBroken };
}

/** A cell's newest tally, proven under the cell's checkpoint, and which of its keys signed that. */
export interface ProvenCell { readonly cell: number; readonly size: bigint; readonly root: Bytes; readonly key: KeyName; readonly tally: Tally }

/** What `verifyResults` found. */
export interface VerifiedResults {
  readonly results: Results;
  readonly cells: readonly ProvenCell[];
  /** The cells that are said to hold no vote: nothing in the document proves it, only a head does. */
  readonly empty: readonly number[];
  /** The contests whose rounds are not judged: a run-off needs all ballots. */
  readonly ranked: readonly number[];
}

/**
 * Checks what a page of results alone can show: each cell's sums are proven under a checkpoint that the cell's key signed, the totals are
 * their sum, and the winners follow from the counts.
 * Whether the spare may sign is told by switch notices, and whether everybody sees these checkpoints, by heads and witnesses.
 */
export async function verifyResults(bytes: Bytes, manifest: Manifest): Promise<VerifiedResults> {
  const results = parseResults(bytes, manifest);
  const cells = await renamedAsync("results", () => proveCells(results, manifest));
  checkTotals(results, cells, manifest);
  const ranked = results.contests.flatMap(({ rounds }, i) => (rounds === undefined ? [] : [i]));
  const empty = results.cells.flatMap(({ proof }, k) => (proof === undefined ? [k] : []));
  return { results, cells, empty, ranked };
}

/** The proofs alone: each cell's newest tally, under a checkpoint that the cell's key signed. Refusals name the rule of the proof that is broken. */
export async function proveCells(results: Results, manifest: Manifest): Promise<ProvenCell[]> {
  const proven = await Promise.all(results.cells.map((cell, k) => verifyCell(cell, k, manifest)));
  return proven.flatMap((cell) => cell ?? []);
}

/** Whether the totals are the sum of what was proven, and the winners follow from the counts. */
export function checkTotals(results: Results, cells: readonly ProvenCell[], manifest: Manifest): void {
  const total = addSums(manifest, cells.map(({ tally }) => tally.sums));
  if (total.votes !== BigInt(results.votes) || total.abstentions !== BigInt(results.abstentions)) refuse("votes that are not the cells' sum");
  results.contests.forEach(({ blanks, counts, tieBroken, winner, rounds }, i) => {
    const sums = total.contests[i];
    if (sums?.blanks !== BigInt(blanks) || sums.counts.some((count, option) => count !== BigInt(counts[option] ?? -1))) refuse("counts that are not the cells' sum");
    if (results.status !== "final") return;
    if (rounds !== undefined) {
      if (rounds[0]?.counts.some((count, option) => count !== counts[option])) refuse("a first round that is not the counts");
      return;
    }
    const right = highest(counts);
    if (right.winner !== winner || right.tieBroken !== tieBroken) refuse("a winner who does not follow from the counts");
  });
}

async function verifyCell({ proof: text, size }: CellResult, cell: number, manifest: Manifest): Promise<ProvenCell | undefined> {
  if (text === undefined) return undefined;
  const log: LogId = { kind: "cell", cell };
  const proof = parseTlogProof(utf8(text));
  const extra = proof.extra ?? refuse("a proof without its entry");
  const tally = parseEntry(extra, manifest);
  if (tally.type !== "tally") return refuse("a proof of something other than a tally");
  // Batches end in a tally, or are a close alone: no newer tally can stand behind this one.
  if (proof.index + 2n < BigInt(size)) refuse("a tally that cannot be the newest");
  const checkpoint = await verifyTlogProof(proof, await leafHash(extra), originOf(manifest, log), keysOf(manifest, log));
  if (checkpoint.size !== BigInt(size)) refuse("a proof under a checkpoint of another size");
  return { cell, size: checkpoint.size, root: checkpoint.root, key: checkpoint.key, tally };
}
