import assert from "node:assert/strict";
import { test } from "node:test";
import { type Bytes, toBase64, utf8 } from "../src/bytes.js";
import { verifyDispute, verifySplitView } from "../src/evidence.js";
import { type Writable, canonicalText } from "../src/json.js";
import { HEADS, prefixOf } from "../src/logs.js";
import { leafHash } from "../src/merkle.js";
import { verifyReceipt } from "../src/receipt.js";
import { CELL, Election, consistencyOf, rootOf } from "./election.js";
import { accepted, refused, vectors } from "./vectors.js";

interface Case {
  readonly why: string;
  readonly kind: "split-view" | "dispute";
  readonly election: string;
  readonly file: string;
  readonly fill?: readonly [string, number];
  readonly valid: boolean;
  readonly verdict: Readonly<Record<string, unknown>> | null;
  readonly exit: number;
}

/** What a case's `verdict` and `exit` say, of the file as it is judged here. */
async function judged(file: Bytes, kind: Case["kind"], election: string): Promise<{ verdict: Case["verdict"]; exit: number }> {
  if (kind === "split-view") {
    const view = await accepted(() => verifySplitView(file, election));
    if (view === undefined) return { verdict: null, exit: 2 };
    return { verdict: { log: prefixOf(view.log), newer: String(view.newer.size), older: String(view.older.size) }, exit: 1 };
  }
  const dispute = await accepted(() => verifyDispute(file, election));
  if (dispute === undefined) return { verdict: null, exit: 2 };
  const { ruling, rolledBack, undecided } = dispute;
  const exit = undecided ? 2 : ["held", "covered", "counted"].includes(ruling) ? 0 : 1;
  return { verdict: { rolled_back: rolledBack, ruling }, exit };
}

test("evidence.json", async () => {
  const { texts, cases } = vectors<{ texts: string[]; cases: Case[] }>("evidence");
  for (const { why, kind, election, file, fill: [part, times] = ["", 0], valid, verdict, exit } of cases) {
    const whole = texts.reduce((text, each, i) => text.replaceAll(`~${i}`, () => each), file).replaceAll("~x", () => part.repeat(times));
    assert.deepEqual(await judged(utf8(whole), kind, election), { verdict, exit }, `${kind}: ${why}`);
    assert.equal(valid, verdict !== null, why);
  }
});

const leavesOf = (entries: readonly Bytes[]): Promise<Bytes[]> => Promise.all(entries.map(leafHash));
const texts = (hashes: readonly Bytes[]): string[] => hashes.map(toBase64);

/** A cell whose voter holds a receipt for entry 2 of 4, and another history with another vote in its place. */
async function story() {
  const election = await Election.make();
  const [a, b, c, d] = [election.vote(0), election.vote(1), election.vote(0), election.vote(1)];
  // Grammar is no matter here: evidence is about trees.
  const entries = [election.genesis(CELL), a, b, c, a, c];
  const other = [election.genesis(CELL), a, d, c, a, c];
  const receipt = election.receipt(await election.proof(CELL, 2, entries.slice(0, 4)));
  return { election, receipt, leaves: await leavesOf(entries), others: await leavesOf(other), entries };
}

test("split views", async () => {
  const { election, leaves, others } = await story();
  const file = async (changes: Record<string, Writable> = {}): Promise<Bytes> =>
    utf8(
      canonicalText({
        election: election.id, format: "tallyroot/v1/split-view", manifest: election.text,
        older: await election.checkpoint(CELL, leaves.slice(0, 4)), newer: await election.checkpoint(CELL, others),
        proof: texts(await consistencyOf(4, others)), root: toBase64(await rootOf(others.slice(0, 4))), ...changes,
      }),
    );
  assert.equal((await verifySplitView(await file(), election.id)).older.size, 4n);
  const same = { newer: await election.checkpoint(CELL, others.slice(0, 4)), proof: [], root: toBase64(await rootOf(others.slice(0, 4))) };
  assert.equal((await verifySplitView(await file(same), election.id)).newer.size, 4n);
  const one = {
    newer: await election.checkpoint(CELL, leaves), proof: texts(await consistencyOf(4, leaves)), root: toBase64(await rootOf(leaves.slice(0, 4))),
  };
  const elsewhere = await Election.make();
  const wrong: readonly (readonly [string, Record<string, Writable>])[] = [
    ["one history", one],
    ["a proof of something else", { proof: texts(await consistencyOf(3, others)) }],
    ["a root that the proof does not carry", { root: toBase64(await rootOf(others.slice(0, 3))) }],
    ["two logs", { newer: await election.checkpoint(HEADS, others) }],
    ["a stranger's key", { newer: await elsewhere.checkpoint(CELL, others) }],
    ["another format", { format: "tallyroot/v1/dispute" }],
    ["another member", { more: 1 }],
    ["another manifest", { manifest: elsewhere.text }],
  ];
  for (const [why, changes] of wrong) {
    assert.equal((await refused(async () => verifySplitView(await file(changes), election.id), why)).code, "split-view", why);
  }
  await refused(async () => verifySplitView(await file(), elsewhere.id), "asked about another election");
});

test("disputes", async () => {
  const { election, receipt, leaves, others, entries } = await story();
  await verifyReceipt(utf8(receipt), election.id);
  const rule = async (changes: Record<string, Writable>) => {
    const text = canonicalText({ election: election.id, format: "tallyroot/v1/dispute", head: null, heads: null, ledger: null, receipt, ...changes });
    return (await verifyDispute(utf8(text), election.id)).ruling;
  };
  const exhibit = async (log: readonly Bytes[], from: number): Promise<Writable> => ({
    checkpoint: await election.checkpoint(CELL, log), proof: from > log.length ? [] : texts(await consistencyOf(from, log)),
    root: toBase64(await rootOf(log.slice(0, from))),
  });
  const headOf = async (final: boolean, size: number, log: readonly Bytes[], proven = log): Promise<Writable> => {
    const heads = [election.genesis(HEADS), await election.head(final, size, await rootOf(log.slice(0, size)))];
    const [small, large] = [Math.min(size, 4), Math.max(size, 4)];
    const below = size <= 2;
    return {
      head: await election.proof(HEADS, 1, heads), proof: below ? [] : texts(await consistencyOf(small, proven.slice(0, large))),
      root: toBase64(await rootOf(proven.slice(0, below ? size : small))),
    };
  };
  const held = await exhibit(leaves, 4);
  assert.equal(await rule({}), "not-shown");
  assert.equal(await rule({ ledger: held }), "held");
  assert.equal(await rule({ ledger: await exhibit(leaves.slice(0, 3), 4) }), "rolled-back");
  assert.equal(await rule({ ledger: await exhibit(others, 4) }), "split-view");
  assert.equal(await rule({ head: await headOf(false, 6, leaves) }), "covered");
  assert.equal(await rule({ head: await headOf(true, 6, leaves), ledger: held }), "counted");
  assert.equal(await rule({ head: await headOf(true, 3, leaves), ledger: held }), "counted");
  assert.equal(await rule({ head: await headOf(true, 2, leaves), ledger: held }), "dropped");
  assert.equal(await rule({ head: await headOf(false, 2, leaves), ledger: held }), "held");
  assert.equal(await rule({ head: await headOf(true, 6, others), ledger: held }), "split-view");
  assert.equal(await rule({ receipt: receipt.replace('"cell":0', '"cell":1') }), "invalid-receipt");

  const wrong: readonly (readonly [string, Record<string, Writable>])[] = [
    ["a proof of another history", { ledger: { ...(held as object), root: toBase64(await rootOf(others.slice(0, 4))) } }],
    ["a proof for nothing", { ledger: { ...((await exhibit(leaves.slice(0, 3), 4)) as object), proof: texts(leaves.slice(0, 1)) } }],
    ["the heads log without a seal", { heads: held }],
    ["a head that is a vote", { head: { ...((await headOf(true, 6, leaves)) as object), head: await election.proof(HEADS, 1, entries) } }],
    ["a head in the cell's log", { head: { ...((await headOf(true, 6, leaves)) as object), head: await election.proof(CELL, 1, entries) } }],
    ["a head's root that nothing carries", { head: { ...((await headOf(true, 6, leaves)) as object), root: toBase64(await rootOf(others)) } }],
    ["another format", { format: "tallyroot/v1/split-view" }],
    ["another member", { more: null }],
  ];
  for (const [why, changes] of wrong) assert.equal((await refused(() => rule(changes), why)).code, "dispute", why);
});

test("disputes over the heads log", async () => {
  const { election, leaves, entries } = await story();
  const head = await election.head(false, 6, await rootOf(leaves));
  const heads = [election.genesis(HEADS), head, await election.head(false, 6, await rootOf(leaves))];
  const receipt = election.receipt(await election.proof(CELL, 2, entries.slice(0, 4)), {
    head: await election.proof(HEADS, 1, heads.slice(0, 2)), vote: await election.proof(CELL, 2, entries),
  });
  const sealed = await verifyReceipt(utf8(receipt), election.id);
  assert.equal(sealed.seal?.head, 1n);
  const rule = async (log: readonly Bytes[], from: number) => {
    const shown = await leavesOf(log);
    const exhibit = {
      checkpoint: await election.checkpoint(HEADS, shown), proof: from > shown.length ? [] : texts(await consistencyOf(from, shown)),
      root: toBase64(await rootOf(shown.slice(0, from))),
    };
    const text = canonicalText({ election: election.id, format: "tallyroot/v1/dispute", head: null, heads: exhibit, ledger: null, receipt });
    return verifyDispute(utf8(text), election.id);
  };
  assert.equal((await rule(heads, 2)).ruling, "not-shown");
  assert.equal((await rule(heads.slice(0, 1), 2)).ruling, "rolled-back");
  const split = await rule([election.genesis(HEADS), await election.head(true, 4, await rootOf(leaves.slice(0, 4)))], 2);
  assert.deepEqual([split.ruling, split.logs], ["split-view", ["heads"]]);
});
