// What the worker makes of results, honest and falsified in every way that we could think of: without a browser, so that there can be many.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { HEADS, type LogId, type Receipt, openManifest, parseTilePath } from "../../verifier/src/index.js";
import type { Memory, Snapshot } from "../src/messages.js";
import { Session } from "../src/worker/session.js";
import { Source, Unreachable } from "../src/worker/source.js";
import { canVerify } from "../src/worker/judge.js";
import { checkRecorded } from "../src/voting/worker/answers.js";
import { Ledger } from "../src/voting/worker/ledger.js";
import { sealedReceipt } from "../src/voting/worker/receipts.js";
import { findSwitches } from "../src/voting/worker/switches.js";
import { Election, folder, sha256, tallyroot } from "./election.js";
import { Published, type Results, canonical, changed, edit, moveVotes, parse, signAnew } from "./forge.js";

let election: Election;
let honest: Buffer;
let final: Buffer;

before(async () => {
  election = await Election.start(folder(), "--voters", "40", "--cells", "2");
  honest = election.file("results.json");
});
after(() => election?.stop());

const bytes = (text: string | Buffer): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(text));

async function session(memory: Memory | null = null, capable = true): Promise<Session> {
  return Session.open(new Source(`${election.url}${election.path}`), election.id, bytes(election.file("manifest.json")), memory, capable);
}

async function look(...documents: readonly (string | Buffer)[]): Promise<Snapshot> {
  const one = await session();
  for (const document of documents) await one.offer(bytes(document));
  return one.snapshot();
}

const found = ({ findings }: Snapshot): string[] => findings.map(({ id }) => id);

async function eachIs(changes: Readonly<Record<string, (results: Results) => void>>, ids: readonly string[], base = honest): Promise<void> {
  for (const [what, change] of Object.entries(changes)) {
    const after = await look(changed(base, change));
    assert.equal(after.results, undefined, `${what}: shown`);
    assert.ok(found(after).length === 1 && ids.includes(found(after)[0] ?? ""), `${what}: ${found(after)} ${after.findings[0]?.detail}`);
  }
}

const first = (results: Results) => results.contests[0] ?? assert.fail();

test("this Node verifies Ed25519", async () => assert.equal(await canVerify(), true));

test("what is published verifies", async () => {
  const snapshot = await look(honest, honest);
  assert.deepEqual(found(snapshot), []);
  assert.equal(snapshot.results?.votes, parse(honest).votes);
});

const most = (counts: readonly number[]): number => counts.indexOf(Math.max(...counts));

test("no number can be changed", () =>
  eachIs(
    {
      votes: (r) => void (r.votes += 1),
      abstentions: (r) => void (r.abstentions += 1),
      "a count": (r) => void (first(r).counts[1] = (first(r).counts[1] ?? 0) + 1),
      // Exchanged, two counts that are the same by chance would be no change.
      "two counts": (r) => void (first(r).counts = first(r).counts.map((count, i, all) => (i === most(all) ? count - 1 : i === (most(all) + 1) % all.length ? count + 1 : count))),
      blanks: (r) => void (first(r).blanks += 1),
      "too large a number": (r) => void (r.votes = 2 ** 60),
      "a negative number": (r) => void (r.votes = -1),
      "a fraction": (r) => void (first(r).counts[0] = 0.5),
    },
    ["sums", "contradiction"],
  ));

test("no proof can be changed", () =>
  eachIs(
    {
      "other counts in the tally entry and in the sum": (r) => moveVotes(r, 1),
      "another index": (r) => edit(r, /index \d+/, "index 1"),
      "an index beyond the tree": (r) => edit(r, /index \d+/, "index 4000"),
      "no hashes": (r) => edit(r, /(index \d+\n)[^]*?\n\n/, "$1\n"),
      "one hash more": (r) => edit(r, /(index \d+\n)/, `$1${Buffer.alloc(32).toString("base64")}\n`),
      "another root": (r) => edit(r, /(\n\d+\n)[^\n]+\n\n—/, `$1${Buffer.alloc(32).toString("base64")}\n\n—`),
      "another size in the note": (r) => edit(r, /\n\d+\n([^\n]+\n\n—)/, "\n999\n$1"),
      "another size beside it": (r) => void ((r.cells[0] ?? assert.fail()).size += 1),
      "a damaged signature": (r) => edit(r, /(— \S+ \S{20})./, (_, head) => `${head}${(r.cells[0]?.proof ?? "").match(/— \S+ \S{20}(.)/)?.[1] === "A" ? "B" : "A"}`),
      "a second signature line": (r) => edit(r, /(— .*\n)$/, "$1$1"),
      "no signature": (r) => edit(r, /— .*\n$/, ""),
      "an extension line": (r) => edit(r, /\n\n—/, "\nmore\n\n—"),
      "another version": (r) => edit(r, /@v1/, "@v2"),
      "leading zeroes": (r) => edit(r, /index /, "index 0"),
      "loose base64": (r) => edit(r, /extra (.*)\n/, "extra $1=\n"),
      "the other cell's proof": (r) => Object.assign(r.cells[0] ?? {}, { proof: r.cells[1]?.proof, size: r.cells[1]?.size }),
      "no proof": (r) => void ((r.cells[0] ?? assert.fail()).proof = null),
    },
    ["proof", "signature", "contradiction", "sums"],
  ));

test("labels, lists and members are those of the rules", async () => {
  await eachIs(
    {
      "swapped options": (r) => void first(r).options.reverse(),
      "another name": (r) => void (first(r).name = "Chair"),
      "an option more": (r) => void (first(r).options.push("X"), first(r).counts.push(0)),
      "a contest less": (r) => void r.contests.pop(),
    },
    ["labels"],
  );
  await eachIs(
    {
      "a cell less": (r) => void r.cells.pop(),
      "cells in another order": (r) => void r.cells.reverse(),
      "an unknown member": (r) => void Object.assign(r, { note: "hello" }),
      "another format": (r) => void (r.format = "tallyroot/v2/results"),
      "another status": (r) => void (r.status = "done"),
      "an outcome before the end": (r) => void (first(r).winner = 0),
    },
    ["contradiction"],
  );
  await eachIs({ "another election": (r) => void (r.election = "0".repeat(64)) }, ["other-election"]);
  for (const text of ['{"a":1,"a":1}', ` ${honest.toString()}`, "[]", "null", "7"]) assert.equal((await look(text)).findings.length, 1, text.slice(0, 10));
});

test("what is no answer of a tally service proves nothing against it", async () => {
  for (const text of ["", "{", "<html>", honest.toString().slice(0, -1), Buffer.from([0xff, 0xfe])]) assert.deepEqual(found(await look(text)), []);
});

test("nothing forks, and what is older is only older", async () => {
  const forked = changed(honest, (all) => { moveVotes(all, 1); signAnew(election, all); });
  // Nothing in itself is wrong with it: its key's owner signed it.
  assert.deepEqual(found(await look(forked)), []);
  const after = await look(honest, forked);
  assert.deepEqual(found(after), ["fork"]);
  assert.ok(after.findings[0]?.evidence?.includes("tallyroot/v1/split-view"));
  assert.equal(after.results?.contests[0]?.counts[0], parse(honest).contests[0]?.counts[0]);
  await election.vote(0);
  const newer = await newest(parse(honest).votes + 1);
  const older = await look(newer, honest);
  assert.deepEqual([found(older), older.results?.votes], [[], parse(newer).votes]);
  // The same beginnings: tiles prove it.
  const grown = await session();
  await grown.offer(bytes(honest));
  await grown.offer(bytes(newer));
  await grown.round();
  assert.deepEqual(found(grown.snapshot()), []);
  const cells = grown.snapshot().cells;
  assert.deepEqual(cells.map(({ grown }) => grown), parse(newer).cells.map(({ size }) => size));
  // An older tree that is no beginning of the newer one.
  const split = await session();
  await split.offer(bytes(forked));
  await split.offer(bytes(newer));
  await split.round();
  const which = parse(newer).cells.findIndex(({ size }, k) => size !== parse(honest).cells[k]?.size);
  assert.deepEqual(found(split.snapshot()), ["fork"], `the vote went to cell ${which}`);
});

async function newest(votes: number): Promise<Buffer> {
  for (;;) {
    const document = election.file("results.json");
    if (parse(document).votes === votes) return document;
    await new Promise((done) => setTimeout(done, 20));
  }
}

test("what an earlier visit kept is compared, if it is signed", async () => {
  const one = await session();
  const now = election.file("results.json");
  await one.offer(bytes(now));
  await one.round();
  const memory = one.memory();
  const again = await session(memory);
  await again.offer(bytes(changed(now, (all) => { moveVotes(all, 1); signAnew(election, all); })));
  await again.round();
  assert.ok(found(again.snapshot()).includes("fork"));
  const junk: Memory = { cells: ["nonsense", memory.cells[0] ?? null], heads: "nonsense", findings: [] };
  const third = await session(junk);
  await third.offer(bytes(now));
  await third.round();
  assert.deepEqual(found(third.snapshot()), []);
});

test("a spare key's signature is said to be unchecked, not verified", async () => {
  const snapshot = await look(changed(election.file("results.json"), (all) => signAnew(election, all, "spare")));
  assert.deepEqual(found(snapshot), []);
  assert.deepEqual(snapshot.checks.filter(({ id }) => id === "signatures").map(({ state }) => state), ["unchecked"]);
});

test("rules with another fingerprint are refused", async () => {
  const rules = JSON.parse(election.file("manifest.json").toString()) as { contests: { options: string[] }[] };
  rules.contests[0]?.options.reverse();
  const source = new Source(`${election.url}${election.path}`);
  await assert.rejects(Session.open(source, election.id, bytes(canonical(rules)), null, true), { id: "rules" });
  await assert.rejects(Session.open(source, election.id.toUpperCase(), bytes(election.file("manifest.json")), null, true), { id: "rules" });
  assert.equal(sha256(election.file("manifest.json")).toString("hex"), election.id);
});

test("without Ed25519 nothing is called verified", async () => {
  const one = await session(null, false);
  await one.offer(bytes(election.file("results.json")));
  const snapshot = one.snapshot();
  assert.deepEqual([snapshot.incapable, snapshot.verifiedAt], [true, undefined]);
});

test("the notice of a switched cell is read once, from the log's end; a log that does not hold it yet is waited for", async () => {
  const manifest = await openManifest(bytes(election.file("manifest.json")), election.id);
  const cell = { kind: "cell", cell: 0 } as const;
  const site = new Source(`${election.url}${election.path}`);
  const read = async (log: LogId): Promise<Uint8Array<ArrayBuffer>[]> => {
    const ledger = new Ledger(site, manifest, log);
    const tree = await ledger.newest() ?? assert.fail();
    return ledger.entries(tree, 0n, tree.size);
  };
  const signed = join(folder(), "notice.json");
  await tallyroot("election", "switch", "--election", election.id, "--key", join(election.data, "authority/main.key"), "--cell", "0", "--offline", signed, election.url);
  const notice = Buffer.from((JSON.parse(readFileSync(signed, "utf8")) as { notice: string }).notice, "base64");
  // The cell goes on with its spare key.
  const before = await read(cell);
  const vote = before[1] ?? assert.fail();
  const votes = new Published("cells/0", [...before, vote], (size, root) => election.checkpoint("cells/0", size, root, "spare"));
  // A heads log that is long, and shows the notice late.
  const head = (await read(HEADS)).at(-1) ?? assert.fail();
  const log = new Published("heads", [...Array<Uint8Array>(3_000).fill(head), notice, ...Array<Uint8Array>(10).fill(head)], (size, root) => election.checkpoint("heads", size, root));
  log.size = 3_000;
  const source = new (class extends Source {
    override async read(path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
      const file = log.file(path) ?? votes.file(path);
      return file && new Uint8Array(file);
    }
  })(site.base);
  const proofIn = async (size: number): Promise<string> => {
    votes.size = size;
    const ledger = new Ledger(source, manifest, cell);
    return ledger.proofOf(1n, await ledger.newest() ?? assert.fail());
  };
  const proof = await proofIn(before.length + 1);
  const recorded = () => checkRecorded(source, manifest, 0, vote, { proof, index: 1 }, true);
  const bundles = () => log.asked.splice(0).filter((name) => name.startsWith("tile/entries/")).map((name) => Number(parseTilePath(name).index));
  await assert.rejects(recorded(), Unreachable);
  assert.deepEqual(new Set(bundles()).size, 12);
  // Asked again: what was read is not read again.
  await assert.rejects(recorded(), Unreachable);
  assert.deepEqual(bundles(), []);
  log.size = 3_011;
  assert.equal(await recorded(), proof);
  assert.deepEqual(new Set(bundles()), new Set([11]));
  assert.equal((await findSwitches(source, manifest, [cell, HEADS])).length, 1);
  assert.deepEqual(bundles(), []);
  // The spare key may not sign what the other has signed already.
  const early = await proofIn(before.length);
  await assert.rejects(checkRecorded(source, manifest, 0, vote, { proof: early, index: 1 }, true), { id: "notProven" });
});

test("a server that says yes to everything does not have its anchors counted for ever", async () => {
  const text = election.file("manifest.json").toString();
  const rules = { manifest: await openManifest(bytes(text), election.id), text, id: election.id };
  const source = new (class extends Source {
    override exists = async (): Promise<boolean> => true;
  })(`${election.url}${election.path}`);
  await assert.rejects(sealedReceipt(source, rules, {} as Receipt, text), { code: "anchor" });
  // A front that answers for what is not there blames nobody on the results page, and ends it neither.
  const open = await Session.open(source, election.id, bytes(text), null, true);
  await open.offer(bytes(honest));
  await open.round();
  await open.readAnchors();
  assert.deepEqual(found(open.snapshot()), []);
});

test("the outcome follows from the numbers, and is not reopened", async () => {
  // Everybody has voted; the last of them may not have been counted yet.
  let open = election.file("results.json");
  for (; parse(open).votes < 40; open = election.file("results.json")) await new Promise((done) => setTimeout(done, 50));
  await election.close();
  for (;;) {
    final = election.file("results.json");
    if (parse(final).status === "final") break;
    await new Promise((done) => setTimeout(done, 50));
  }
  const second = (r: Results) => r.contests[1] ?? assert.fail();
  await eachIs(
    {
      "another winner": (r) => void (second(r).winner = second(r).winner === 0 ? 1 : 0),
      "no winner": (r) => void (second(r).winner = null),
      "a tie that was none": (r) => void (second(r).tie_broken = second(r).tie_broken !== true),
      "rounds that begin with other numbers": (r) => { const round = first(r).rounds?.[0] ?? assert.fail(); round.counts = [(round.counts[0] ?? 0) + 1, (round.counts[1] ?? 0) - 1, ...round.counts.slice(2)]; },
      "no rounds": (r) => void (first(r).rounds = []),
    },
    ["sums", "contradiction"],
    final,
  );
  const reopened = changed(final, (r) => {
    r.status = "open";
    for (const contest of r.contests) Object.assign(contest, { winner: null, rounds: null, tie_broken: null });
  });
  assert.equal((await look(final, reopened)).results?.status, "final");
  assert.deepEqual(found(await look(final, changed(final, (r) => void (first(r).winner = ((first(r).winner ?? 0) + 1) % 5)))), ["final-changed"]);
  const one = await session();
  await one.offer(bytes(final));
  await one.round();
  await one.round();
  assert.deepEqual(found(one.snapshot()), []);
  assert.equal(one.snapshot().head?.final, true);
  // Final results of fewer entries than the final head counts: the votes are the same ones, and so is what follows from them, ties too.
  assert.deepEqual(parse(open).contests.map(({ counts }) => counts), parse(final).contests.map(({ counts }) => counts));
  const early = await session();
  await early.offer(bytes(changed(open, (r) => {
    r.status = "final";
    r.contests = parse(final).contests;
  })));
  await early.round();
  assert.ok(found(early.snapshot()).includes("final-sizes"), String(found(early.snapshot())));
});
