import assert from "node:assert/strict";
import { test } from "node:test";
import { concat, fromHex, uint, utf8 } from "../src/bytes.js";
import { highest, runOff } from "../src/count.js";
import { parseEntry } from "../src/entry.js";
import type { TieRule } from "../src/manifest.js";
import { makeResults, parseResults, verifyResults } from "../src/results.js";
import { Recount, sameSums } from "../src/sums.js";
import { CELL, Election } from "./election.js";
import { base } from "./base.js";
import { accepted, refused, vectors } from "./vectors.js";

interface Round { counts: (number | null)[]; eliminated: number | null; exhausted: number; tie_broken: boolean }

test("count.json", () => {
  type Case = { why: string; winner: number | null } & (
    | { method: "plurality" | "approval"; counts: number[]; tie_broken: boolean }
    | { method: "ranked"; options: number; rankings: [number[], number][]; rounds: Round[]; tie_rule: TieRule }
  );
  for (const c of vectors<{ cases: Case[] }>("count").cases) {
    if (c.method !== "ranked") {
      assert.deepEqual(highest(c.counts), { winner: c.winner ?? undefined, tieBroken: c.tie_broken }, c.why);
      continue;
    }
    const found = runOff(c.options, c.rankings.map(([options, ballots]) => ({ options, ballots })), c.tie_rule);
    const rounds = found.rounds.map(({ counts, eliminated, exhausted, tieBroken }): Round => ({
      counts: counts.map((count) => count ?? null), eliminated: eliminated ?? null, exhausted, tie_broken: tieBroken,
    }));
    assert.deepEqual(rounds, c.rounds, c.why);
    assert.equal(found.winner ?? null, c.winner, c.why);
  }
});

type Case = { why: string; results: string } & (
  | { valid: false }
  | { valid: true; tallies: (string | null)[]; ballots: number[][][][] }
);

test("results.json", async () => {
  const manifest = await base();
  for (const c of vectors<{ cases: Case[] }>("results").cases) {
    const results = await accepted(() => parseResults(utf8(c.results), manifest));
    assert.equal(results !== undefined, c.valid, c.why);
    if (!c.valid || results === undefined) continue;
    const cells = results.cells.map(({ size, proof }, k) => {
      const entry = c.tallies[k];
      const tally = typeof entry === "string" ? parseEntry(fromHex(entry), manifest) : undefined;
      const recount = new Recount(manifest);
      for (const choices of c.ballots[k] ?? []) recount.add(choices);
      assert.ok(tally === undefined || (tally.type === "tally" && sameSums(tally.sums, recount.sums())), c.why);
      return { size, proof, sums: tally?.type === "tally" ? tally.sums : undefined };
    });
    assert.equal(makeResults(manifest, results.status, cells, c.ballots.flat()), c.results, c.why);
    const verified = await verifyResults(utf8(c.results), manifest);
    assert.deepEqual(verified.cells.map(({ cell }) => cell), c.tallies.flatMap((tally, k) => (tally === null ? [] : [k])), c.why);
    assert.deepEqual(verified.empty, c.tallies.flatMap((tally, k) => (tally === null ? [k] : [])), c.why);
  }
});

test("results that the proofs do not carry are refused", async () => {
  const manifest = await base();
  const final = vectors<{ cases: Case[] }>("results").cases.find(({ why }) => why.startsWith("final: a tie"))?.results ?? "";
  await verifyResults(utf8(final), manifest);
  const changes: readonly (readonly [string, string, string])[] = [
    ["a vote moved", '"counts":[3,3,0]', '"counts":[2,4,0]'],
    ["an abstention less, and a vote", '"abstentions":1', '"abstentions":0'],
    ["another winner", '"tie_broken":true,"winner":0', '"tie_broken":true,"winner":1'],
    ["a tie that nobody broke", '"tie_broken":true,"winner":0', '"tie_broken":false,"winner":0'],
    ["another first round", '{"counts":[2,2,1,0],"eliminated":3', '{"counts":[2,1,2,0],"eliminated":3'],
    ["another size", '"size":6', '"size":7'],
    ["a changed hash", "index 5\\nqjVi", "index 5\\nqjVj"],
    ["a changed signature", "cells/0 Mjegiiy", "cells/0 Mjegiiz"],
  ];
  for (const [why, from, to] of changes) {
    assert.ok(final.includes(from), why);
    assert.equal((await refused(() => verifyResults(utf8(final.replace(from, to)), manifest), why)).code, "results", why);
  }
});

test("contradictions that nothing else would catch", async () => {
  const manifest = await base();
  const open = vectors<{ cases: Case[] }>("results").cases.find(({ why }) => why === "open: two cells")?.results ?? "";
  const more = '{"blanks":1,"counts":[6],"name":"X","options":["Y"],"rounds":null,"tie_broken":null,"winner":null}';
  const changes: readonly (readonly [string, string, string])[] = [
    ["an unknown status", '"status":"open"', '"status":"paused"'],
    ["a contest too many", '}],"election"', `},${more}],"election"`],
    ["fewer blanks than abstentions", '"blanks":3,"counts":[1,3,2,1]', '"blanks":0,"counts":[1,3,2,1]'],
  ];
  for (const [why, from, to] of changes) {
    assert.ok(open.includes(from), why);
    await refused(() => parseResults(utf8(open.replace(from, to)), manifest), why);
  }
  await verifyResults(utf8(open), manifest);
  await refused(() => verifyResults(utf8(open.replace('"counts":[3,3,0]', '"counts":[2,4,0]')), manifest), "counts that the proofs do not carry");
});

test("only the newest tally proves results", async () => {
  const election = await Election.make();
  const tally = (batch: bigint, votes: bigint) => concat(Uint8Array.of(3), ...[batch, 2000n, votes, 0n, 0n, votes, 0n].map((n) => uint(n, 8)));
  const entries = [election.genesis(CELL), election.vote(0), tally(1n, 1n), election.vote(0), tally(2n, 2n)];
  const page = async (index: number, votes: number) => {
    const cells = [{ size: entries.length, proof: await election.proof(CELL, index, entries), sums: { votes: BigInt(votes), abstentions: 0n, contests: [{ blanks: 0n, counts: [BigInt(votes), 0n] }] } }];
    return verifyResults(utf8(makeResults(election.manifest, "open", cells, [])), election.manifest);
  };
  assert.equal((await page(4, 2)).results.votes, 2);
  assert.match((await refused(() => page(2, 1), "an older tally")).message, /newest/);
  assert.match((await refused(() => page(3, 1), "a vote")).message, /other than a tally/);
});
