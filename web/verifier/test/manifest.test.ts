import assert from "node:assert/strict";
import { test } from "node:test";
import { toHex, utf8 } from "../src/bytes.js";
import { parseManifest } from "../src/manifest.js";
import { accepted, vectors } from "./vectors.js";

test("manifest.json", async () => {
  interface Case { why: string; manifest: string; election: string | null; valid: boolean }
  for (const c of vectors<{ cases: Case[] }>("manifest").cases) {
    const manifest = await accepted(() => parseManifest(utf8(c.manifest)));
    assert.equal(manifest !== undefined, c.valid, c.why);
    if (manifest) assert.equal(toHex(manifest.election), c.election, c.why);
  }
});
