// Runs the page's verification under Node, over results that the services made (`TALLYROOT_FIXTURES` names the folder) and over every way of
// falsifying them that we could think of. Started by tally/tests/browser.rs.

import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { followsKeyRule, hasEd25519, verifyEd25519 } from "./crypto.js";
import { fromBase64, fromDecimal, fromHex, parseCanonical, parseNote } from "./formats.js";
import { openElection, ResultsVerifier } from "./verify.js";

const { subtle } = webcrypto;
const folder = process.env.TALLYROOT_FIXTURES;
const file = (name) => new Uint8Array(readFileSync(`${folder}/${name}`));
const id = readFileSync(`${folder}/id`, "utf8").trim();
const election = (crypto = subtle) => openElection(id, file("manifest.json"), crypto);
const parse = (name) => JSON.parse(Buffer.from(file(name)).toString());

function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  return `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
}
const bytes = (value) => new TextEncoder().encode(canonical(value));

async function check(content, before = []) {
  const verifier = new ResultsVerifier(await election());
  for (const name of before) assert.equal((await verifier.check(file(name))).state, "verified", name);
  return verifier.check(content);
}

/** The codes of the checks that failed after `change` was made to a fixture. */
async function failures(name, change, before = []) {
  const results = parse(name);
  const replaced = change(results);
  const outcome = await check(bytes(replaced ?? results), before);
  assert.equal(outcome.state, "failed");
  return outcome.checks.filter((found) => found.state === "failed").map((found) => found.code);
}

test("what the services publish verifies, in order, to the final result", async () => {
  const verifier = new ResultsVerifier(await election());
  for (const name of ["empty.json", "open1.json", "open2.json", "final.json"]) {
    const outcome = await verifier.check(file(name));
    const open = outcome.checks.filter((found) => found.state !== "verified").map((found) => found.code);
    // The run-off alone needs every ballot.
    assert.deepEqual(open, name === "final.json" ? ["outcome"] : [], JSON.stringify(outcome.checks));
    assert.equal(outcome.state, name === "final.json" ? "unchecked" : "verified");
    assert.equal(outcome.results.votes, parse(name).votes);
  }
  assert.ok(parse("final.json").votes > 0 && parse("final.json").cells.every((cell) => cell.proof !== null));
});

test("the same update again costs no second verification and stays verified", async () => {
  const verifier = new ResultsVerifier(await election());
  await verifier.check(file("open2.json"));
  assert.equal((await verifier.check(file("open2.json"))).state, "verified");
});

test("rules with another fingerprint are refused", async () => {
  const manifest = file("manifest.json");
  const other = parse("manifest.json");
  other.contests[0].options.reverse();
  const { opening, closing } = JSON.parse(Buffer.from(manifest).toString()).times;
  assert.deepEqual((await openElection(id, manifest, subtle)).times, { opening, closing });
  await assert.rejects(openElection(id, bytes(other), subtle), /fingerprint/);
  await assert.rejects(openElection(id.toUpperCase(), manifest, subtle));
  await assert.rejects(openElection("", manifest, subtle));
  await assert.rejects(openElection(id, manifest, undefined), /https/);
});

test("no number can be changed", async () => {
  const changes = {
    votes: (r) => void (r.votes += 1),
    abstentions: (r) => void (r.abstentions += 1),
    "a count": (r) => void (r.contests[0].counts[1] += 1),
    "two counts": (r) => void ((r.contests[0].counts[0] -= 1), (r.contests[0].counts[1] += 1)),
    blanks: (r) => void (r.contests[1].blanks += 1),
  };
  for (const [what, change] of Object.entries(changes)) assert.deepEqual(await failures("open2.json", change), ["sums"], what);
});

/** Changes the tally entry of cell 0 and the sum with it. */
function stuffed(results) {
  results.votes += 5;
  results.contests[0].counts[0] += 5;
  const cell = results.cells[0];
  cell.proof = cell.proof.replace(/extra (.*)\n/, (_, text) => {
    const entry = Buffer.from(text, "base64");
    entry.writeBigUInt64BE(entry.readBigUInt64BE(17) + 5n, 17);
    entry.writeBigUInt64BE(entry.readBigUInt64BE(41) + 5n, 41);
    return `extra ${entry.toString("base64")}\n`;
  });
}

function edit(results, pattern, replace) {
  const before = results.cells[0].proof;
  results.cells[0].proof = before.replace(pattern, replace);
  assert.notEqual(results.cells[0].proof, before);
}

test("no proof can be changed", async () => {
  const changes = {
    "more votes in the tally entry and in the sum": stuffed,
    "another index": (r) => edit(r, /index \d+/, "index 1"),
    "an index beyond the tree": (r) => edit(r, /index \d+/, "index 4000"),
    "no hashes": (r) => edit(r, /(index \d+\n)[^]*?\n\n/, "$1\n"),
    "one hash more": (r) => edit(r, /(index \d+\n)/, `$1${Buffer.alloc(32).toString("base64")}\n`),
    "another root": (r) => edit(r, /(\n\d+\n)[^\n]+\n\n—/, `$1${Buffer.alloc(32).toString("base64")}\n\n—`),
    "another size in the note": (r) => edit(r, /\n\d+\n([^\n]+\n\n—)/, "\n999\n$1"),
    "another size beside it": (r) => void (r.cells[0].size += 1),
    "a damaged signature": (r) => edit(r, /(— \S+ \S{20})./, (_, head) => `${head}${r.cells[0].proof.at(-20) === "A" ? "B" : "A"}`),
    "a second signature line": (r) => edit(r, /(— .*\n)$/, "$1$1"),
    "no signature": (r) => edit(r, /— .*\n$/, ""),
    "an extension line": (r) => edit(r, /\n\n—/, "\nmore\n\n—"),
    "another version": (r) => edit(r, "@v1", "@v2"),
    "leading zeroes": (r) => edit(r, "index ", "index 0"),
    "loose base64": (r) => edit(r, /extra (.*)\n/, "extra $1=\n"),
    "the other cell's proof": (r) => void (r.cells[0].proof = r.cells[1].proof),
    "no proof": (r) => void (r.cells[0].proof = null),
  };
  for (const [what, change] of Object.entries(changes)) {
    const codes = await failures("open2.json", change);
    assert.ok(codes.includes("inclusion"), `${what}: ${codes}`);
  }
});

test("a tree signed by anybody else is refused", async () => {
  const pair = await subtle.generateKey({ name: "Ed25519" }, true, ["sign", "verify"]);
  const raw = new Uint8Array(await subtle.exportKey("raw", pair.publicKey));
  const results = parse("open2.json");
  const [, origin, size, root] = /\n\n([^\n]+)\n(\d+)\n([^\n]+)\n\n—/.exec(results.cells[0].proof);
  const body = new TextEncoder().encode(`${origin}\n${size}\n${root}\n`);
  const signature = new Uint8Array(await subtle.sign({ name: "Ed25519" }, pair.privateKey, body));
  const name = new TextEncoder().encode(origin);
  const hash = new Uint8Array(await subtle.digest("SHA-256", Buffer.concat([name, Buffer.from([10, 1]), raw])));
  const blob = Buffer.concat([hash.slice(0, 4), signature]).toString("base64");
  results.cells[0].proof = results.cells[0].proof.replace(/— .*\n$/, `— ${origin} ${blob}\n`);
  const outcome = await check(bytes(results));
  assert.equal(outcome.state, "failed");
  assert.match(JSON.stringify(outcome.checks), /not signed with the election's key/);
});

test("a spare key's signature is said to be unchecked, not verified", async () => {
  const outcome = await check(file("spare.json"));
  assert.equal(outcome.state, "unchecked");
  assert.deepEqual(outcome.checks.filter((found) => found.state === "unchecked").map((found) => found.code), ["signature"]);
});

test("labels, lists and members are those of the rules", async () => {
  const changes = {
    "swapped options": (r) => void r.contests[0].options.reverse(),
    "another name": (r) => void (r.contests[0].name = "Chair"),
    "an option more": (r) => (r.contests[0].options.push("X"), void r.contests[0].counts.push(0)),
    "a contest less": (r) => void r.contests.pop(),
    "a cell less": (r) => void r.cells.pop(),
    "cells in another order": (r) => void r.cells.reverse(),
    "an unknown member": (r) => void (r.note = "hello"),
    "another election": (r) => void (r.election = "0".repeat(64)),
    "another format": (r) => void (r.format = "tallyroot/v2/results"),
    "another status": (r) => void (r.status = "done"),
    "a fraction": (r) => void (r.contests[0].counts[0] = 0.5),
    "a negative number": (r) => void (r.votes = -1),
    "too large a number": (r) => void (r.votes = 2 ** 60),
    "an outcome before the end": (r) => void (r.contests[0].winner = 0),
    "not an object": () => [],
  };
  for (const [what, change] of Object.entries(changes)) assert.deepEqual(await failures("open2.json", change), ["document"], what);
  for (const text of ["", "{", '{"a":1,"a":1}', ` ${Buffer.from(file("open2.json"))}`, `\uFEFF${Buffer.from(file("open2.json"))}`]) {
    assert.equal((await check(new TextEncoder().encode(text))).state, "failed", text.slice(0, 10));
  }
  assert.equal((await check(Uint8Array.from([0xff, 0xfe]))).state, "failed");
});

test("the outcome must follow from the numbers", async () => {
  const changes = {
    "another winner": (r) => void (r.contests[0].winner = 1),
    "no winner": (r) => void (r.contests[0].winner = null),
    "a tie that was none": (r) => void (r.contests[0].tie_broken = !r.contests[0].tie_broken),
    "rounds that begin with other numbers": (r) => void (r.contests[1].rounds[0].counts[0] += 1),
    "no rounds": (r) => void (r.contests[1].rounds = []),
  };
  for (const [what, change] of Object.entries(changes)) assert.deepEqual(await failures("final.json", change), ["outcome"], what);
});

test("nothing is taken back, and nothing forks", async () => {
  const history = async (name, before) => {
    const outcome = await check(file(name), before);
    return outcome.checks.filter((found) => found.state === "failed").map((found) => found.code);
  };
  assert.deepEqual(await history("open1.json", ["open2.json"]), ["history"]);
  assert.deepEqual(await history("empty.json", ["open1.json"]), ["history"]);
  // Properly signed, with another tree of the same size: the key's owner forked the log.
  assert.deepEqual(await history("fork.json", ["open2.json"]), ["history"]);
  assert.match(JSON.stringify((await check(file("fork.json"), ["open2.json"])).checks), /cell 0 shows two different trees/);
  assert.deepEqual(await history("fork.json", []), []);
  // A refused update is not remembered against the honest one after it.
  const verifier = new ResultsVerifier(await election());
  await verifier.check(file("open1.json"));
  const forged = parse("open2.json");
  forged.cells[0].size += 100;
  assert.equal((await verifier.check(bytes(forged))).state, "failed");
  assert.equal((await verifier.check(file("open2.json"))).state, "verified");
});

test("the final result is not reopened", async () => {
  const verifier = new ResultsVerifier(await election());
  await verifier.check(file("final.json"));
  const reopened = parse("final.json");
  reopened.status = "open";
  for (const contest of reopened.contests) Object.assign(contest, { winner: null, rounds: null, tie_broken: null });
  const outcome = await verifier.check(bytes(reopened));
  assert.deepEqual(outcome.checks.filter((found) => found.state === "failed").map((found) => found.code), ["history"]);
});

test("without Ed25519 the page says so instead of guessing", async () => {
  const lacking = {
    digest: subtle.digest.bind(subtle),
    importKey: async () => {
      throw new DOMException("unknown algorithm", "NotSupportedError");
    },
  };
  const careless = { ...lacking, importKey: async () => ({}), verify: async () => true };
  for (const crypto of [lacking, careless]) {
    const verifier = new ResultsVerifier(await election(crypto));
    const outcome = await verifier.check(file("open2.json"));
    assert.equal(outcome.state, "unchecked");
    const forged = parse("open2.json");
    stuffed(forged);
    assert.equal((await new ResultsVerifier(await election(crypto)).check(bytes(forged))).state, "failed");
  }
  assert.equal(await hasEd25519(subtle), true);
});

test("the key rule holds before WebCrypto is asked", async () => {
  const note = parseNote(/\n\n([^]*)$/.exec(parse("open2.json").cells[0].proof)[1]);
  const key = fromHex(parse("manifest.json").cells[0].main, 32);
  assert.equal(await verifyEd25519(subtle, key, note.signature, note.body), true);
  // The same signature with S + L.
  const L = 2n ** 252n + 27742317777372353535851937790883648493n;
  const malleable = Uint8Array.from(note.signature);
  let s = malleable.slice(32).reduceRight((value, byte) => value * 256n + BigInt(byte), 0n) + L;
  for (let i = 32; i < 64; i += 1, s /= 256n) malleable[i] = Number(s % 256n);
  assert.equal(followsKeyRule(key, malleable), false);
  const small = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
  ];
  for (const text of small) {
    const point = fromHex(text, 32);
    assert.equal(followsKeyRule(point, note.signature), false, `key ${text}`);
    assert.equal(followsKeyRule(key, Uint8Array.from([...point, ...note.signature.slice(32)])), false, `R ${text}`);
  }
});

test("the shared vectors of the key rule, where they are at hand", { skip: process.env.TALLYROOT_VECTORS === undefined }, async () => {
  const vectors = JSON.parse(readFileSync(`${process.env.TALLYROOT_VECTORS}/ed25519.json`, "utf8"));
  const cases = vectors.cases ?? vectors.vectors ?? vectors;
  assert.ok(Array.isArray(cases) && cases.length > 10);
  for (const vector of cases) {
    const [key, signature] = [fromHex(vector.public_key ?? vector.key, 32), fromHex(vector.signature, 64)];
    const message = new Uint8Array(Buffer.from(vector.message, "hex"));
    const valid = vector.valid ?? vector.result === "valid";
    assert.equal(await verifyEd25519(subtle, key, signature, message), valid, vector.comment ?? vector.name);
  }
});

test("one spelling for each value", () => {
  assert.throws(() => fromBase64("AAB="), /one spelling/);
  assert.throws(() => fromBase64("AA-_"));
  assert.throws(() => fromBase64("AAA"));
  assert.throws(() => fromHex("AB", 1));
  for (const text of ["01", "+1", "1e3", "", " 1", "-0", "9007199254740993"]) assert.throws(() => fromDecimal(text), text);
  assert.throws(() => parseCanonical(new TextEncoder().encode('{"b":1,"a":2}'), "x"), /canonical/);
});
