import assert from "node:assert/strict";
import { test } from "node:test";
import { fromHex } from "../src/bytes.js";
import { CellLog } from "../src/cell-log.js";
import type { LogGrammar } from "../src/grammar.js";
import { HeadsLog } from "../src/heads-log.js";
import { IssuanceLog } from "../src/issuance-log.js";
import type { Manifest } from "../src/manifest.js";
import { base } from "./base.js";
import { refused, vectors } from "./vectors.js";

interface Place { code: string; index: number }
interface Case { why: string; log: string; batches: string[][]; valid: boolean; broken: Place | null; remarks: Place[] }

async function grammarOf(manifest: Manifest, prefix: string): Promise<LogGrammar> {
  const [kind, a, b] = prefix.split("/");
  if (kind === "cells") return new CellLog(manifest, Number(a));
  return kind === "heads" ? HeadsLog.of(manifest) : new IssuanceLog(manifest, Number(a), Number(b));
}

test("grammar.json", async () => {
  const manifest = await base();
  for (const c of vectors<{ cases: Case[] }>("grammar").cases) {
    const log = await grammarOf(manifest, c.log);
    const batches = c.batches.map((batch) => batch.map((entry) => fromHex(entry)));
    const last = c.valid ? [] : (batches.pop() ?? []);
    for (const batch of batches) await log.batch(batch);
    const error = c.valid ? undefined : await refused(() => log.batch(last), c.why);
    assert.deepEqual(error ? { code: error.code, index: Number(error.index) } : null, c.broken, c.why);
    const remarks = log instanceof HeadsLog ? log.remarks.map(({ code, index }) => ({ code, index: Number(index) })) : [];
    if (c.valid) assert.deepEqual(remarks, c.remarks, c.why);
  }
});
