import assert from "node:assert/strict";
import { test } from "node:test";
import { utf8 } from "../src/bytes.js";
import { choicesInWords, verifyReceipt } from "../src/receipt.js";
import { refused, vectors } from "./vectors.js";

interface Case { why: string; election: string; receipt: string; error: string | null; valid: boolean; verdict: object | null }

test("receipt.json", async () => {
  for (const c of vectors<{ cases: Case[] }>("receipt").cases) {
    if (!c.valid) {
      assert.equal((await refused(() => verifyReceipt(utf8(c.receipt), c.election), c.why)).code, c.error, c.why);
      continue;
    }
    const receipt = await verifyReceipt(utf8(c.receipt), c.election);
    const { cell, index, checkpoint, seal } = receipt;
    assert.deepEqual(
      {
        cell, index: Number(index), key: checkpoint.key, size: Number(checkpoint.size), choices: choicesInWords(receipt),
        seal: seal
          ? {
              cell_key: seal.cell.key, final_head: seal.finalHead, head: Number(seal.head), heads_key: seal.heads.key, heads_size: Number(seal.heads.size),
              time: Number(seal.time), witnesses: seal.witnesses.map(({ name, time }) => [name, Number(time)]),
            }
          : null,
      },
      c.verdict,
      c.why,
    );
  }
});
