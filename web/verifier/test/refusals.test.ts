// Refusals that no vector reaches, each by what would pass without it, or by its words where another refusal stands behind it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Bytes, concat, toBase64, toHex, uint, utf8 } from "../src/bytes.js";
import { openCosigned } from "../src/checkpoint.js";
import { parseEntry } from "../src/entry.js";
import { verifyDispute, verifySplitView } from "../src/evidence.js";
import { parseAnchor, parseBatch } from "../src/files.js";
import { Members, canonicalText, parseCanonical } from "../src/json.js";
import { HEADS, keysOf, originOf } from "../src/logs.js";
import { leafHash, nodeHash, verifyConsistency, verifyInclusion } from "../src/merkle.js";
import { parseTlogProof } from "../src/proof.js";
import { verifyReceipt } from "../src/receipt.js";
import { MAX_STRETCH, provenEntries, stretchFiles } from "../src/stretch.js";
import { authenticateTiles, prefixRoot, tilePath } from "../src/tiles.js";
import { base } from "./base.js";
import { CELL, Election, rootOf } from "./election.js";
import { refused } from "./vectors.js";

/** That `action` is refused in these words. */
async function says(words: RegExp, action: () => unknown): Promise<void> {
  assert.match((await refused(action, String(words))).message, words);
}

const leaves = (n: number): Promise<Bytes[]> => Promise.all(Array.from({ length: n }, (_, i) => leafHash(uint(BigInt(i), 1))));

test("inclusion: an index beyond the tree, and more hashes than it has levels", async () => {
  const [leaf, other] = await leaves(2);
  assert.ok(leaf !== undefined && other !== undefined);
  await verifyInclusion(leaf, 0n, { size: 1n, root: leaf }, []);
  await says(/not in the tree/, () => verifyInclusion(leaf, 1n, { size: 1n, root: leaf }, []));
  await says(/not in the tree/, () => verifyInclusion(leaf, 0n, { size: 0n, root: leaf }, []));
  // What a proof of too many hashes leads to, as the root.
  await says(/too many/, async () => verifyInclusion(leaf, 0n, { size: 1n, root: await nodeHash(leaf, other) }, [other]));
});

test("consistency: never from a larger tree to a smaller one", async () => {
  const all = await leaves(3);
  const head = async (size: number) => ({ size: BigInt(size), root: await rootOf(all.slice(0, size)) });
  const [two, three] = [await head(2), await head(3)];
  await verifyConsistency(two, three, [all[2] ?? assert.fail()]);
  await says(/larger one/, () => verifyConsistency(three, two, []));
});

test("a .tlog-proof names its lines, and stands above a checkpoint", async () => {
  const note = `x\n\n\u2014 a ${toBase64(new Uint8Array(68))}\n`;
  assert.equal(parseTlogProof(utf8(`c2sp.org/tlog-proof@v1\nindex 5\n\n${note}`)).index, 5n);
  await says(/no index line/, () => parseTlogProof(utf8(`c2sp.org/tlog-proof@v1\nplace 5\n\n${note}`)));
  await says(/no empty line/, () => parseTlogProof(utf8("c2sp.org/tlog-proof@v1\nindex 5\n")));
});

test("a cosigned checkpoint without any line", async () => {
  const manifest = await base();
  await refused(() => openCosigned(utf8("text\n\n"), originOf(manifest, HEADS), keysOf(manifest, HEADS), []), "no line");
  await says(/does not have/, () => keysOf(manifest, { kind: "cell", cell: 4_000 }));
});

test("a receipt of a cell that is not there, and too long ones", async () => {
  const election = await Election.make();
  const entries = [election.genesis(CELL), election.vote(0)];
  const receipt = election.receipt(await election.proof(CELL, 1, entries), null);
  await verifyReceipt(utf8(receipt), election.id);
  await says(/that the election does not have/, () => verifyReceipt(utf8(receipt.replace('"cell":0', '"cell":1')), election.id));
  await says(/4 MiB/, () => verifyReceipt(new Uint8Array(2 ** 22 + 1), election.id));
  const heads = [election.genesis(HEADS), await election.head(false, 2, await rootOf(await Promise.all(entries.map(leafHash))))];
  const proof = await election.proof(HEADS, 1, heads);
  const sealed = (head: string) => utf8(election.receipt(receiptVote, { head, vote: receiptVote }));
  const receiptVote = await election.proof(CELL, 1, entries);
  await verifyReceipt(sealed(proof), election.id);
  await says(/without its entry/, () => verifyReceipt(sealed(proof.replace(/extra .*\n/, "")), election.id));
});

test("evidence that is too long, or of nothing", async () => {
  const id = "00".repeat(32);
  await says(/4 MiB/, () => verifySplitView(new Uint8Array(2 ** 22 + 1), id));
  assert.equal((await refused(() => verifyDispute(utf8("{}"), id), "no dispute")).code, "dispute");
});

test("files that are too long", async () => {
  const manifest = await base();
  await says(/16 MiB/, () => parseBatch(new Uint8Array(2 ** 24 + 1), manifest));
  await says(/16 MiB/, () => parseAnchor(new Uint8Array(2 ** 24 + 1), manifest));
});

test("entries that are too long, and notices of no kind", async () => {
  const manifest = await base();
  await says(/65,535/, () => parseEntry(new Uint8Array(65_536), manifest));
  await says(/tally's length/, () => parseEntry(concat(Uint8Array.of(3), new Uint8Array(40)), manifest));
  const notice = (kind: number) => concat(Uint8Array.of(8, 0), new Uint8Array(64), Uint8Array.of(kind), uint(0n, 4));
  assert.equal(parseEntry(notice(2), manifest).type, "notice");
  for (const kind of [0, 5, 255]) await says(/unknown kind of notice/, () => parseEntry(notice(kind), manifest));
});

test("canonical JSON: members by name and type, and nothing else written", async () => {
  const members = new Members(parseCanonical(utf8('{"a":"x","b":1,"c":true}')), "it", ["a", "b", "c"]);
  assert.deepEqual([members.string("a"), members.integer("b"), members.boolean("c")], ["x", 1, true]);
  await says(/a is no integer/, () => members.integer("a"));
  await says(/b is no boolean/, () => members.boolean("b"));
  await says(/lacks d/, () => members.get("d"));
  await says(/lacks d/, () => new Members(parseCanonical(utf8('{"a":1}')), "it", ["d"]));
  for (const number of [0.5, -1, 2 ** 53, Number.NaN]) await says(/no integer/, () => canonicalText({ a: number }));
  await says(/surrogate/, () => canonicalText("\ud800"));
});

test("stretches and tiles need every file, and no longer stretch is counted than can be held", async () => {
  const bytes = [0, 1, 2].map((i) => uint(BigInt(i), 1));
  const all = await Promise.all(bytes.map(leafHash));
  const head = { size: 3n, root: await rootOf(all) };
  const bundle = ["tile/entries/000.p/3", concat(...bytes.flatMap((entry) => [uint(BigInt(entry.length), 2), entry]))] as const;
  const tile = [tilePath({ level: 0, index: 0n, width: 3 }), concat(...all)] as const;
  assert.equal((await provenEntries(head, new Map([tile, bundle]), 0n, 3n)).length, 3);
  await says(/entries.* is needed/, () => provenEntries(head, new Map([tile]), 0n, 3n));
  await says(/is needed/, () => provenEntries(head, new Map([bundle]), 0n, 3n));
  const size = MAX_STRETCH * 2n;
  assert.ok(stretchFiles(size, 0n, MAX_STRETCH).length > 0);
  await says(/too long/, () => stretchFiles(size, 0n, MAX_STRETCH + 1n));
  await says(/not a stretch/, () => stretchFiles(size, 1n, 1n));
  const proven = await authenticateTiles(head, new Map([tile]));
  assert.equal(toHex(await prefixRoot(proven, 3n, 3n)), toHex(head.root));
  await says(/is needed/, () => prefixRoot(new Map(), 3n, 3n));
  await says(/larger one/, () => prefixRoot(proven, 4n, 3n));
});
