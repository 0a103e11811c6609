import assert from "node:assert/strict";
import { test } from "node:test";
import { fromDecimal, fromHex, toHex, utf8 } from "../src/bytes.js";
import { openCheckpoint, openCosigned } from "../src/checkpoint.js";
import { CompactRange, leafHash, verifyConsistency, verifyInclusion } from "../src/merkle.js";
import { parseNote, parseVerifierKey, verifyLine } from "../src/note.js";
import { parseTlogProof, verifyTlogProof } from "../src/proof.js";
import { accepted, vectors } from "./vectors.js";

const keyPair = ([main = "", spare = ""]: string[]) => ({ main: fromHex(main), spare: fromHex(spare) });

test("merkle.json", async () => {
  type Case = { name: string; valid: boolean } & (
    | { kind: "leaf"; entry: string; expected: string }
    | { kind: "root"; size: string; expected: string }
    | { kind: "inclusion"; leaf: string; index: string; size: string; root: string; proof: string[] }
    | { kind: "consistency"; old_size: string; old_root: string; new_size: string; new_root: string; proof: string[] }
  );
  for (const c of vectors<{ cases: Case[] }>("merkle").cases) {
    if (c.kind === "leaf") {
      assert.equal(toHex(await leafHash(fromHex(c.entry))), c.expected, c.name);
    } else if (c.kind === "root") {
      const range = new CompactRange();
      for (let i = 0; i < Number(c.size); i++) await range.append(await leafHash(utf8(`entry ${i}`)));
      assert.equal(toHex(await range.root()), c.expected, c.name);
    } else {
      const proof = c.proof.map((hash) => fromHex(hash));
      const holds = await accepted(async () => {
        if (c.kind === "inclusion") await verifyInclusion(fromHex(c.leaf), fromDecimal(c.index), { size: fromDecimal(c.size), root: fromHex(c.root) }, proof);
        else await verifyConsistency({ size: fromDecimal(c.old_size), root: fromHex(c.old_root) }, { size: fromDecimal(c.new_size), root: fromHex(c.new_root) }, proof);
        return true;
      });
      assert.equal(holds === true, c.valid, c.name);
    }
  }
});

test("note.json", async () => {
  interface Note { text: string; signatures: { key_id: string; name: string; signature: string }[] }
  interface Key { key_id: string; name: string; public_key: string; type: number }
  type Case = { name: string; valid: boolean; input?: string; input_hex?: string } & (
    | { kind: "note"; expected: Note | null }
    | { kind: "vkey"; expected: Key | null }
    | { kind: "signed"; vkey: string }
  );
  for (const c of vectors<{ cases: Case[] }>("note").cases) {
    const input = c.input === undefined ? fromHex(c.input_hex ?? "") : utf8(c.input);
    if (c.kind === "note") {
      const note = await accepted(() => parseNote(input));
      assert.equal(note !== undefined, c.valid, c.name);
      const signatures = note?.signatures.map(({ keyId, name, signature }) => ({ key_id: toHex(keyId), name, signature: toHex(signature) }));
      assert.deepEqual(note === undefined ? null : { text: note.text, signatures }, c.expected, c.name);
    } else if (c.kind === "vkey") {
      const key = await accepted(() => parseVerifierKey(c.input ?? ""));
      const found = key === undefined ? null : { key_id: toHex(key.keyId), name: key.name, public_key: toHex(key.publicKey), type: key.type };
      assert.deepEqual(found, c.expected, c.name);
    } else {
      const note = parseNote(input);
      const key = await parseVerifierKey(c.vkey);
      const lines = await Promise.all(note.signatures.map((line) => verifyLine(note.text, line, key)));
      assert.equal(lines.includes(true), c.valid, c.name);
    }
  }
});

test("checkpoint.json", async () => {
  interface Case {
    name: string; kind: "checkpoint" | "cosigned"; valid: boolean; input: string; origin: string; keys: string[]; witnesses?: string[];
    expected: { key: number; root: string; size: string; cosignatures?: [number, string][] } | null;
  }
  for (const c of vectors<{ cases: Case[] }>("checkpoint").cases) {
    const found = await accepted(async () => {
      if (c.kind === "checkpoint") return { ...(await openCheckpoint(utf8(c.input), c.origin, keyPair(c.keys))), cosignatures: undefined };
      return openCosigned(utf8(c.input), c.origin, keyPair(c.keys), await Promise.all((c.witnesses ?? []).map(parseVerifierKey)));
    });
    assert.equal(found !== undefined, c.valid, c.name);
    if (found === undefined) continue;
    const said = { key: found.key === "main" ? 0 : 1, root: toHex(found.root), size: String(found.size) };
    const cosignatures = found.cosignatures?.map(({ witness, time }) => [witness, seconds(time, c.expected?.cosignatures)]);
    assert.deepEqual(cosignatures === undefined ? said : { ...said, cosignatures }, c.expected, c.name);
  }
  function seconds(time: bigint, expected: [number, string | number][] | undefined): string | number {
    return typeof expected?.[0]?.[1] === "number" ? Number(time) : String(time);
  }
});

test("tlog_proof.json", async () => {
  type Case = { name: string; valid: boolean; input: string } & (
    | { kind: "form"; expected: { checkpoint: string; extra: string | null; index: string; proof: string[] } | null }
    | { kind: "proof"; keys: string[]; leaf: string; origin: string }
  );
  for (const c of vectors<{ cases: Case[] }>("tlog_proof").cases) {
    const proof = await accepted(() => parseTlogProof(utf8(c.input)));
    if (c.kind === "form") {
      const form = proof && {
        checkpoint: Buffer.from(proof.checkpoint).toString(), extra: proof.extra === undefined ? null : toHex(proof.extra),
        index: String(proof.index), proof: proof.hashes.map(toHex),
      };
      assert.deepEqual(form ?? null, c.expected, c.name);
    } else {
      assert.ok(proof, c.name);
      assert.equal((await accepted(() => verifyTlogProof(proof, fromHex(c.leaf), c.origin, keyPair(c.keys)))) !== undefined, c.valid, c.name);
    }
  }
});
