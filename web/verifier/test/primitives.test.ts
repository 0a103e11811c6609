import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fromHex } from "../src/bytes.js";
import { verifyEd25519 } from "../src/ed25519.js";
import { canonicalText, parseCanonical } from "../src/json.js";
import { decodeLabel } from "../src/labels.js";
import { parseRsaKey, verifyRsa } from "../src/rsa.js";
import { UNASSIGNED } from "../src/unicode14.js";
import { accepted, specs, vectors } from "./vectors.js";

interface BytesCase { why: string; bytes: string; valid: boolean }

test("canonical_json.json", async () => {
  for (const { why, bytes, valid } of vectors<{ cases: BytesCase[] }>("canonical_json").cases) {
    const value = await accepted(() => parseCanonical(fromHex(bytes)));
    assert.equal(value !== undefined, valid, why);
    if (valid) {
      const text = Buffer.from(bytes, "hex").toString("utf8");
      assert.equal(canonicalText(JSON.parse(text)), text, why);
    }
  }
});

test("labels.json", async () => {
  for (const { why, bytes, valid } of vectors<{ cases: BytesCase[] }>("labels").cases) {
    assert.equal((await accepted(() => decodeLabel(fromHex(bytes)))) !== undefined, valid, why);
  }
});

test("the unassigned code points are those of the page", () => {
  const lines = readFileSync(`${specs}unicode-14.0-unassigned.txt`, "utf8").split("\n").filter((line) => !line.startsWith("#"));
  assert.deepEqual(UNASSIGNED.trim().split(/\s+/), lines.join(" ").trim().split(/\s+/));
});

test("ed25519.json", async () => {
  interface Case { name: string; public_key: string; message: string; signature: string; valid: boolean }
  for (const c of vectors<{ cases: Case[] }>("ed25519").cases) {
    assert.equal(await verifyEd25519(fromHex(c.public_key), fromHex(c.message), fromHex(c.signature)), c.valid, c.name);
  }
});

test("rsa.json", async () => {
  interface Key { name: string; spki: string; valid: boolean }
  interface Signature extends Key { message: string; signature: string }
  const { keys, signatures } = vectors<{ keys: Key[]; signatures: Signature[] }>("rsa");
  for (const { name, spki, valid } of keys) {
    assert.equal((await accepted(() => parseRsaKey(fromHex(spki)))) !== undefined, valid, name);
  }
  for (const c of signatures) {
    const key = parseRsaKey(fromHex(c.spki));
    assert.equal(await verifyRsa(key, fromHex(c.message), fromHex(c.signature)), c.valid, c.name);
  }
});

test("credential.json: the signatures that come out are the registrars'", async () => {
  interface Credential { name: string; spki: string; credential_message: string; signature: string }
  for (const c of vectors<{ credentials: Credential[] }>("credential").credentials) {
    const key = parseRsaKey(fromHex(c.spki));
    assert.ok(await verifyRsa(key, fromHex(c.credential_message), fromHex(c.signature)), c.name);
  }
});
