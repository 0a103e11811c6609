import assert from "node:assert/strict";
import { test } from "node:test";
import { isAbstention, parseBallot } from "../src/ballot.js";
import { fromHex, toHex } from "../src/bytes.js";
import { parseEntry, verifyNotice, voteFault } from "../src/entry.js";
import { encodeBatch, parseAnchor, parseBatch } from "../src/files.js";
import { base } from "./base.js";
import { accepted, vectors } from "./vectors.js";

test("ballot.json", async () => {
  const { contests } = await base();
  interface Case { why: string; ballot: string; valid: boolean; abstention: boolean | null; choices: number[][] | null }
  for (const c of vectors<{ cases: Case[] }>("ballot").cases) {
    const choices = await accepted(() => parseBallot(fromHex(c.ballot), contests));
    assert.equal(choices !== undefined, c.valid, c.why);
    assert.deepEqual(choices ?? null, c.choices, c.why);
    assert.equal(choices ? isAbstention(choices) : null, c.abstention, c.why);
  }
});

test("entry.json", async () => {
  const manifest = await base();
  interface Case { why: string; entry: string; type: string | null; valid: boolean; signatures?: boolean }
  for (const c of vectors<{ cases: Case[] }>("entry").cases) {
    const entry = await accepted(() => parseEntry(fromHex(c.entry), manifest));
    assert.equal(entry !== undefined, c.valid, c.why);
    assert.equal(entry?.type ?? null, c.type?.replace(" ", "-") ?? null, c.why);
    if (c.signatures === undefined) continue;
    if (entry?.type === "vote") assert.equal((await voteFault(entry, manifest)) === undefined, c.signatures, c.why);
    else if (entry?.type === "notice") assert.equal(await verifyNotice(entry, manifest), c.signatures, c.why);
    else assert.fail(c.why);
  }
});

test("batch.json", async () => {
  const manifest = await base();
  for (const c of vectors<{ cases: { why: string; batch: string; valid: boolean }[] }>("batch").cases) {
    const batch = await accepted(() => parseBatch(fromHex(c.batch), manifest));
    assert.equal(batch !== undefined, c.valid, c.why);
    if (batch) assert.equal(toHex(encodeBatch(batch, manifest)), c.batch, c.why);
  }
});

test("anchor.json", async () => {
  const manifest = await base();
  for (const c of vectors<{ cases: { why: string; anchor: string; valid: boolean }[] }>("anchor").cases) {
    assert.equal((await accepted(() => parseAnchor(fromHex(c.anchor), manifest))) !== undefined, c.valid, c.why);
  }
});
