import assert from "node:assert/strict";
import { createPublicKey } from "node:crypto";
import { test } from "node:test";
import { audit } from "../src/audit.js";
import { type Bytes, concat, fromHex, toBase64, toHex, uint, utf8 } from "../src/bytes.js";
import { genesisOf } from "../src/entry.js";
import { encodeBatch, parseAnchor, parseBatch } from "../src/files.js";
import { HeadsLog } from "../src/heads-log.js";
import { EMPTY_ROOT } from "../src/checkpoint.js";
import { canonicalText } from "../src/json.js";
import { HEADS, encodeLogId } from "../src/logs.js";
import { parseManifest } from "../src/manifest.js";
import { leafHash } from "../src/merkle.js";
import { keyIdOf, parseNote, parseVerifierKey } from "../src/note.js";
import { parseTlogProof } from "../src/proof.js";
import { verifyReceipt } from "../src/receipt.js";
import { parseResults, verifyResults } from "../src/results.js";
import { parseRsaKey } from "../src/rsa.js";
import { authenticateTiles, parseTilePath, tilePath } from "../src/tiles.js";
import { base } from "./base.js";
import { CELL, Election, rootOf } from "./election.js";
import { trees } from "./trees.js";
import { refused, vectors } from "./vectors.js";

test("hexadecimal has whole bytes, and as many as are asked for", async () => {
  await refused(() => fromHex("abc"), "half a byte");
  await refused(() => fromHex(`${"00".repeat(32)}0`, 32), "half a byte more");
  await refused(() => fromHex("00".repeat(33), 32), "a byte more");
});

test("a note ends in a newline, and a line has three parts", async () => {
  const line = `\u2014 a.example ${toBase64(new Uint8Array(68))}`;
  parseNote(utf8(`text\n\n${line}\n`));
  await refused(() => parseNote(utf8(`text\n\n${line}x`)), "another character in the newline's place");
  await refused(() => parseNote(utf8(`text\n\n${line} more\n`)), "a fourth part");
});

test("verifier keys whose id is right, and which are none", async () => {
  const vkey = async (name: string, type: number, key: Bytes) =>
    `${name}+${toHex(await keyIdOf(name, type as 1, key))}+${toBase64(concat(Uint8Array.of(type), key))}`;
  const key = new Uint8Array(32);
  await parseVerifierKey(await vkey("a.example", 4, key));
  const wrong: readonly (readonly [string, string])[] = [
    ["a space in the name", await vkey("a example", 4, key)], ["no name", await vkey("", 4, key)], ["another type", await vkey("a.example", 2, key)],
    ["a key that is too short", await vkey("a.example", 4, key.slice(1))], ["no id", "a.example"],
  ];
  for (const [why, text] of wrong) await refused(() => parseVerifierKey(text), why);
});

test("a proof of more than 128 KiB", async () => {
  const proof = (length: number): Bytes => utf8(`c2sp.org/tlog-proof@v1\nextra ${toBase64(new Uint8Array(length))}\nindex 0\n\nx\n\n\u2014 a ${toBase64(new Uint8Array(68))}\n`);
  parseTlogProof(proof(90_000));
  await refused(() => parseTlogProof(proof(99_000)), "132,000 characters");
});

test("a batch of more than 32,768 entries", async () => {
  const manifest = await base();
  const batch = (count: number): Bytes =>
    encodeBatch({ log: { kind: "cell", cell: 0 }, number: 1n, oldSize: 1n, oldRoot: EMPTY_ROOT, newSize: BigInt(count) + 1n, newRoot: EMPTY_ROOT,
      entries: Array.from({ length: count }, () => Uint8Array.of(1)) }, manifest);
  assert.equal(parseBatch(batch(32_768), manifest).entries.length, 32_768);
  await refused(() => parseBatch(batch(32_769), manifest), "one more");
});

test("manifests that are too large in sum, and witnesses without a key", async () => {
  const plain = JSON.parse(vectors<{ cases: { manifest: string }[] }>("manifest").cases[0]?.manifest ?? "") as Record<string, never>;
  const parsed = (changes: object) => parseManifest(utf8(canonicalText({ ...plain, ...changes } as Record<string, never>)));
  const contest = (name: string) => ({ method: "plurality", name, options: Array.from({ length: 2049 }, (_, i) => `${i}`), tie_rule: "listed-order" });
  await parsed({ contests: [contest("A")] });
  assert.match((await refused(() => parsed({ contests: [contest("A"), contest("B")] }), "4,098 options")).message, /4,096/);
  const neutral = concat(Uint8Array.of(1), new Uint8Array(31));
  const vkey = `w.example+${toHex(await keyIdOf("w.example", 4, neutral))}+${toBase64(concat(Uint8Array.of(4), neutral))}`;
  assert.match((await refused(() => parsed({ witnesses: { keys: [vkey], quorum: 1 } }), "a key of small order")).message, /key rule/);
});

test("moduli that are even, or too long", async () => {
  const spki = (modulus: Bytes): Bytes => {
    const key = createPublicKey({ format: "jwk", key: { kty: "RSA", e: "AQAB", n: Buffer.from(modulus).toString("base64url") } });
    return new Uint8Array(key.export({ type: "spki", format: "der" }));
  };
  // Neither is a modulus of two primes: each is refused for what is seen first.
  const modulus = (length: number, odd: boolean): Bytes => concat(Uint8Array.of(0x80), new Uint8Array(length - 4), uint(BigInt(odd ? 1 : 2), 3));
  assert.match((await refused(() => parseRsaKey(spki(modulus(256, false))), "even")).message, /even/);
  assert.match((await refused(() => parseRsaKey(spki(modulus(520, true))), "4,160 bits")).message, /2048 to 4096/);
});

test("results of other options, and of other blanks than the proofs carry", async () => {
  const manifest = await base();
  const open = vectors<{ cases: { why: string; results: string }[] }>("results").cases.find(({ why }) => why === "open: two cells")?.results ?? "";
  const changed = (from: string, to: string): Bytes => {
    assert.ok(open.includes(from), from);
    return utf8(open.replace(from, to));
  };
  const blanks = changed('"blanks":3,"counts":[1,3,2,1]', '"blanks":2,"counts":[1,3,2,1]');
  parseResults(blanks, manifest);
  await refused(() => verifyResults(blanks, manifest), "another number of blanks");
  const fewer = utf8(open.replace('"counts":[3,3,0]', '"counts":[3,3]').replace(',"Cleo"]', "]"));
  assert.notDeepEqual(fewer, utf8(open));
  await refused(() => parseResults(fewer, manifest), "without the last option, which nobody chose");
});

test("tiles that nothing proves, and names that are none", async () => {
  await refused(() => parseTilePath("tile/0/000.p/300"), "wider than a tile");
  const leaves = await Promise.all([0, 1, 2].map((i) => leafHash(uint(BigInt(i), 1))));
  const head = { size: 3n, root: await rootOf(leaves) };
  const right = [tilePath({ level: 0, index: 0n, width: 3 }), concat(...leaves)] as const;
  await authenticateTiles(head, new Map([right]));
  for (const path of ["tile/0/000.p/2", "tile/0/001.p/2", "tile/entries/000.p/2"]) {
    await refused(() => authenticateTiles(head, new Map([right, [path, new Uint8Array(64)] as const])), path);
  }
});

test("a seal is of the same vote, at the same place", async () => {
  const election = await Election.make();
  const [vote, other] = [election.vote(0), election.vote(1)];
  const entries = [election.genesis(CELL), other, vote, vote];
  const leaves = await Promise.all(entries.map(leafHash));
  const heads = [election.genesis(HEADS), await election.head(false, 4, await rootOf(leaves))];
  const sealed = async (final: string) => utf8(election.receipt(await election.proof(CELL, 2, entries), { head: await election.proof(HEADS, 1, heads), vote: final }));
  const proof = await election.proof(CELL, 2, entries);
  assert.equal((await verifyReceipt(await sealed(proof), election.id)).seal?.head, 1n);
  const wrong: readonly (readonly [string, string])[] = [
    ["the same vote elsewhere", await election.proof(CELL, 3, entries)],
    ["another entry beside the proof", proof.replace(toBase64(vote), toBase64(other))],
    ["no entry beside the proof", proof.replace(/extra .*\n/, "")],
  ];
  for (const [why, final] of wrong) {
    assert.notEqual(final, proof, why);
    const receipt = await sealed(final);
    assert.equal((await refused(() => verifyReceipt(receipt, election.id), why)).code, "seal-proof", why);
  }
});

test("the heads log is switched once", async () => {
  const manifest = await base();
  const entries: Bytes[] = [genesisOf(manifest, HEADS)];
  const log = await HeadsLog.of(manifest);
  await log.batch(entries);
  for (const sequence of [0n, 1n]) {
    const root = await rootOf(await Promise.all(entries.map(leafHash)));
    const body = concat(Uint8Array.of(4), uint(sequence, 4), encodeLogId(HEADS), uint(BigInt(entries.length), 8), root);
    const notice = concat(Uint8Array.of(8, 0), new Uint8Array(64), body);
    if (sequence === 0n) await log.batch([notice]);
    else assert.equal((await refused(() => log.batch([notice]), "a second switch")).code, "notice");
    entries.push(notice);
  }
});

test("an anchor's objects have their own numbers", async () => {
  const whole = trees().find(({ why }) => why === "an election to its end");
  assert.ok(whole);
  const file = (path: string): Bytes => whole.files.get(path) ?? assert.fail(path);
  const manifest = await parseManifest(file("manifest.json"));
  const { entries, newSize } = parseAnchor(file("anchors/a/0"), manifest);
  const object = (number: bigint, from: bigint, to: bigint): Bytes => {
    const own = entries.slice(Number(from), Number(to)).flatMap((entry) => [uint(BigInt(entry.length), 2), entry]);
    const note = file(`heads/checkpoints/${to}`);
    return concat(utf8("tallyroot/v1/anchor"), Uint8Array.of(0), manifest.election, uint(number, 8), uint(from, 8), uint(to, 8), ...own, uint(BigInt(note.length), 4), note);
  };
  for (const number of [1n, 2n]) {
    const files: ReadonlyMap<string, Bytes> = new Map([...whole.files, ["anchors/a/0", object(0n, 0n, 2n)], ["anchors/a/1", object(number, 2n, newSize)]]);
    const found: string[] = (await audit(files, whole.election)).findings.map(({ code }) => code);
    assert.deepEqual(found, number === 1n ? [] : ["anchor-malformed"]);
  }
});
