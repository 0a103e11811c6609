import assert from "node:assert/strict";
import { test } from "node:test";
import { openCheckpoint } from "../src/checkpoint.js";
import { VerifierError } from "../src/error.js";
import { keysOf, originOf } from "../src/logs.js";
import { openManifest } from "../src/manifest.js";
import { verifyResults } from "../src/results.js";
import { recountStretch, stretchFiles } from "../src/stretch.js";
import { sameSums } from "../src/sums.js";
import { type Tree, trees } from "./trees.js";
import { refused } from "./vectors.js";

/** Reads what a results page reads: the manifest, every cell's log in one stretch, results.json. Gives the code of the first refusal. */
async function page({ election, files }: Tree): Promise<string | undefined> {
  const file = (path: string) => {
    const bytes = files.get(path);
    if (bytes === undefined) throw new VerifierError("missing-file", path);
    return bytes;
  };
  try {
    const manifest = await openManifest(file("manifest.json"), election);
    for (const cell of manifest.cells.keys()) {
      if (!files.has(`cells/${cell}/checkpoint`)) continue;
      const note = file(`cells/${cell}/checkpoint`);
      const { size } = await openCheckpoint(note, originOf(manifest, { kind: "cell", cell }), keysOf(manifest, { kind: "cell", cell }));
      const names = stretchFiles(size, 0n, size);
      await recountStretch(manifest, cell, note, new Map(names.map((name) => [name, file(`cells/${cell}/${name}`)])), 0n, size);
    }
    await verifyResults(file("results.json"), manifest);
    return undefined;
  } catch (error) {
    assert.ok(error instanceof VerifierError, String(error));
    return error.code;
  }
}

/** The trees that a results page refuses, and as what. Every other tree's finding needs heads, issuance logs or all files: an audit. */
const CAUGHT = new Map([
  ["a registrar's signature that does not verify", "vote-registrar-signature"],
  ["a ballot that is not what the voter signed", "vote-ballot-signature"],
  ["a credential of small order", "vote-bad-key"],
  ["a credential that voted twice", "duplicate-vote"],
  ["votes in another order than their leaf hashes'", "unsorted"],
  ["a tally with a vote too many", "tally-sum"],
  ["a tally's time that is not rounded", "time-grain"],
  ["a tally without votes", "order"],
  ["a tile with another hash", "tile"],
  ["a bundle with another entry", "stretch"],
  ["a tile that is not there", "missing-file"],
  ["a newest checkpoint of a cell that is none", "note"],
  ["results.json is not there", "missing-file"],
  ["results.json with another count", "results"],
  ["results.json without a cell's votes", "results"],
  ["results.json with a vote for another option", "results"],
  ["results.json with an abstention too many", "results"],
  ["results.json with the proof of an earlier tally", "results"],
  ["results.json of a size before the final head's", "results"],
  ["results.json of no batch's end", "results"],
  ["manifest.json of another election", "manifest"],
  ["the newest checkpoint as an earlier one", "missing-file"],
]);

test("trees.json: what a results page can see", async () => {
  const found = new Map<string, string>();
  for (const tree of trees()) {
    const code = await page(tree);
    if (tree.findings.length === 0) assert.equal(code, undefined, tree.why);
    if (code !== undefined) found.set(tree.why, code);
  }
  assert.deepEqual(found, CAUGHT);
});

test("stretches of a log add up", async () => {
  const tree = trees().find(({ why }) => why === "a credential that voted twice");
  assert.ok(tree);
  const manifest = await openManifest(tree.files.get("manifest.json") ?? new Uint8Array(0), tree.election);
  const note = tree.files.get("cells/0/checkpoint") ?? new Uint8Array(0);
  const { size } = await openCheckpoint(note, originOf(manifest, { kind: "cell", cell: 0 }), keysOf(manifest, { kind: "cell", cell: 0 }));
  const stretch = (start: bigint, end: bigint) => {
    const names = stretchFiles(size, start, end);
    return recountStretch(manifest, 0, note, new Map(names.map((name) => [name, tree.files.get(`cells/0/${name}`) ?? new Uint8Array(0)])), start, end);
  };
  // Two batches: each alone holds, and both together show the credential that is in both.
  const first = await stretch(0n, 3n);
  const second = await stretch(2n, size);
  assert.ok(sameSums(first.after, second.before));
  assert.equal(first.votes + second.votes, second.after.votes);
  assert.equal((await refused(() => stretch(0n, size), "both")).code, "duplicate-vote");
  assert.equal((await refused(() => stretch(0n, 2n), "no tally at the end")).code, "stretch");
  assert.equal((await refused(() => stretch(1n, 3n), "no tally at the start")).code, "stretch");
  assert.equal((await refused(() => stretch(0n, size + 1n), "beyond the log")).code, "stretch");
});
