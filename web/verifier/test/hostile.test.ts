import assert from "node:assert/strict";
import { test } from "node:test";
import { parseBallot } from "../src/ballot.js";
import { type Bytes, fromHex, utf8 } from "../src/bytes.js";
import { parseEntry } from "../src/entry.js";
import { VerifierError } from "../src/error.js";
import { verifyDispute, verifySplitView } from "../src/evidence.js";
import { parseAnchor, parseBatch } from "../src/files.js";
import { parseCanonical } from "../src/json.js";
import { decodeLabel } from "../src/labels.js";
import { parseManifest } from "../src/manifest.js";
import { parseNote } from "../src/note.js";
import { parseTlogProof } from "../src/proof.js";
import { verifyReceipt } from "../src/receipt.js";
import { verifyResults } from "../src/results.js";
import { parseRsaKey } from "../src/rsa.js";
import { parseBundle, parseTilePath } from "../src/tiles.js";
import { base } from "./base.js";
import { vectors } from "./vectors.js";

/** A generator of numbers below `below`, the same ones in each run (mulberry32). */
function numbers(seed: number): (below: number) => number {
  return (below) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** A few bytes changed, cut out, doubled or put in. */
function changed(bytes: Bytes, random: (below: number) => number): Bytes {
  let out = [...bytes];
  for (let n = 1 + random(3); n > 0; n--) {
    const at = random(out.length + 1);
    const length = random(40);
    switch (random(4)) {
      case 0: out[Math.min(at, Math.max(out.length - 1, 0))] = random(256); break;
      case 1: out.splice(at, length); break;
      case 2: out = [...out.slice(0, at), ...out.slice(at, at + length), ...out.slice(at)]; break;
      default: out.splice(at, 0, ...Array.from({ length }, () => random(256)));
    }
  }
  return Uint8Array.from(out);
}

test("whatever the bytes, nothing but the verifier's own error", async () => {
  const manifest = await base();
  const first = (name: string, member: string): string => {
    const found = vectors<{ cases: Record<string, unknown>[] }>(name).cases.find((c) => typeof c[member] === "string" && c["valid"] === true);
    return String(found?.[member]);
  };
  const election = first("receipt", "election");
  const readers: readonly (readonly [Bytes, (bytes: Bytes) => unknown, number])[] = [
    [utf8(first("manifest", "manifest")), parseCanonical, 400],
    [utf8(first("manifest", "manifest")), parseManifest, 40],
    [fromHex(first("labels", "bytes")), decodeLabel, 200],
    [utf8(first("receipt", "receipt")), (bytes) => verifyReceipt(bytes, election), 60],
    [utf8(first("receipt", "receipt")), (bytes) => verifySplitView(bytes, election), 60],
    [utf8(first("receipt", "receipt")), (bytes) => verifyDispute(bytes, election), 60],
    [utf8(first("results", "results")), (bytes) => verifyResults(bytes, manifest), 200],
    [utf8(first("note", "input")), parseNote, 400],
    [utf8(first("tlog_proof", "input")), parseTlogProof, 400],
    [utf8(first("tiles", "path")), (bytes) => parseTilePath(String.fromCharCode(...bytes)), 400],
    [fromHex(first("tiles", "bytes")), (bytes) => parseBundle(bytes, 3), 400],
    [fromHex(first("ballot", "ballot")), (bytes) => parseBallot(bytes, manifest.contests), 400],
    [fromHex(first("batch", "batch")), (bytes) => parseBatch(bytes, manifest), 400],
    [fromHex(first("anchor", "anchor")), (bytes) => parseAnchor(bytes, manifest), 400],
    [fromHex(vectors<{ keys: { spki: string }[] }>("rsa").keys[0]?.spki ?? ""), parseRsaKey, 60],
    ...vectors<{ cases: { entry: string; valid: boolean }[] }>("entry").cases.filter(({ valid }) => valid).slice(0, 16)
      .map(({ entry }) => [fromHex(entry), (bytes: Bytes) => parseEntry(bytes, manifest), 60] as const),
  ];
  const random = numbers(6);
  for (const [bytes, read, times] of readers) {
    for (let i = 0; i < times; i++) {
      const input = i === 0 ? new Uint8Array(0) : changed(bytes, random);
      try {
        await read(input);
      } catch (error) {
        assert.ok(error instanceof VerifierError, `${String(error)} by ${Buffer.from(input).toString("hex")}`);
      }
    }
  }
});

test("what is nested deeply is refused, not followed", () => {
  for (const text of ["[".repeat(1 << 20), '{"a":'.repeat(1 << 18), "[".repeat(100) + "]".repeat(100)]) {
    assert.throws(() => parseCanonical(utf8(text)), VerifierError);
  }
});
