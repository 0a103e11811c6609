// The device's arithmetic against the vectors of the protocol's section 5 and 6.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { webcrypto } from "node:crypto";
import { test } from "node:test";
import { type Manifest, fromHex, parseRsaKey, toHex } from "../../verifier/src/index.js";
import { Device, encodeBallot } from "../src/voting/worker/device.js";

if (!("crypto" in globalThis)) Object.defineProperty(globalThis, "crypto", { value: webcrypto });
const vectors = <T>(name: string): T => JSON.parse(readFileSync(resolve(`../../specs/vectors/${name}.json`), "utf8")) as T;

interface Credential {
  name: string; election: string; device_secret: string; registrar: number; spki: string; credential_key: string; credential_message: string; blinded: string; blind_signature: string; signature: string;
}
interface Answer { name: string; why: string; blind_signature: string; valid: boolean }

test("credentials are blinded and finalized as the vectors say", async () => {
  const { credentials, refused_by_device: answers } = vectors<{ credentials: Credential[]; refused_by_device: Answer[] }>("credential");
  assert.ok(credentials.length > 5 && answers.length > 3);
  for (const [i, vector] of credentials.entries()) {
    const device = await Device.open(fromHex(vector.device_secret), fromHex(vector.election));
    const key = parseRsaKey(fromHex(vector.spki));
    assert.equal(toHex(device.credential), vector.credential_key, vector.name);
    assert.equal(toHex(device.credentialMessage), vector.credential_message, vector.name);
    const blinded = await device.blind(vector.registrar, key);
    assert.equal(toHex(blinded.message), vector.blinded, vector.name);
    assert.equal(toHex(await device.finalize(blinded, fromHex(vector.blind_signature), key) ?? new Uint8Array()), vector.signature, vector.name);
    if (i > 0) continue;
    for (const answer of answers) assert.equal((await device.finalize(blinded, fromHex(answer.blind_signature), key)) !== undefined, answer.valid, answer.name);
  }
});

test("ballots are encoded as the vectors say", async () => {
  const { cases } = vectors<{ cases: { ballot: string; choices?: number[][]; valid: boolean; why: string }[] }>("ballot");
  const manifest = JSON.parse(vectors<{ cases: { manifest: string }[] }>("manifest").cases[0]?.manifest ?? "") as Manifest;
  const valid = cases.filter((c) => c.valid);
  assert.ok(valid.length > 3);
  for (const { ballot, choices = [], why } of valid) assert.equal(toHex(encodeBallot(manifest, choices)), ballot, why);
});
