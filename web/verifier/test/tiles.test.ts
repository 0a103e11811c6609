import assert from "node:assert/strict";
import { test } from "node:test";
import { fromDecimal, fromHex, toHex } from "../src/bytes.js";
import { verifyConsistency, verifyInclusion } from "../src/merkle.js";
import * as tiles from "../src/tiles.js";
import { consistencyPath, inclusionPath, pathTiles, rootAt } from "../src/tree.js";
import { accepted, vectors } from "./vectors.js";

interface Names { tiles: string[]; bundles: string[] }
type Case = { name: string; valid: boolean } & (
  | { kind: "path"; path: string; expected: { index: string; level: string; width: number } | null }
  | { kind: "tree"; size: string; expected: Names }
  | { kind: "edge"; size: string; expected: string[] }
  | { kind: "growth"; old_size: string; new_size: string; expected: Names }
  | { kind: "inclusion"; index: string; size: string; expected: string[] }
  | { kind: "consistency"; old_size: string; new_size: string; expected: string[] }
  | { kind: "bundle"; bytes: string; width: number; expected: string[] | null }
  | { kind: "authenticate"; root: string; size: string; tiles: Record<string, string> }
);

const names = (list: tiles.Tile[]): string[] => list.map(tiles.tilePath).sort();
const growth = (from: bigint, to: bigint): Names => {
  const all = tiles.newTiles(from, to);
  return { tiles: names(all.tiles), bundles: names(all.bundles) };
};
const sorted = (all: Names): Names => ({ tiles: [...all.tiles].sort(), bundles: [...all.bundles].sort() });

for (const kind of ["path", "tree", "edge", "growth", "inclusion", "consistency", "bundle", "authenticate"]) {
  test(`tiles.json: ${kind}`, async () => {
    const cases = vectors<{ cases: Case[] }>("tiles").cases.filter((c) => c.kind === kind);
    assert.ok(cases.length > 0);
    for (const c of cases) await check(c);
  });
}

async function check(c: Case): Promise<void> {
  switch (c.kind) {
    case "path": {
      const tile = await accepted(() => tiles.parseTilePath(c.path));
      assert.deepEqual(tile ? { index: String(tile.index), level: String(tile.level), width: tile.width } : null, c.expected, c.name);
      if (tile) assert.equal(tiles.tilePath(tile), c.path);
      return;
    }
    case "tree": return assert.deepEqual(growth(0n, fromDecimal(c.size)), sorted(c.expected), c.name);
    case "growth": return assert.deepEqual(growth(fromDecimal(c.old_size), fromDecimal(c.new_size)), sorted(c.expected), c.name);
    case "edge": return assert.deepEqual(names(tiles.edgeTiles(fromDecimal(c.size))), [...c.expected].sort(), c.name);
    case "inclusion": return assert.deepEqual(names(tiles.inclusionTiles(fromDecimal(c.index), fromDecimal(c.size))), [...c.expected].sort(), c.name);
    case "consistency":
      return assert.deepEqual(names(tiles.consistencyTiles(fromDecimal(c.old_size), fromDecimal(c.new_size))), [...c.expected].sort(), c.name);
    case "bundle": {
      const entries = await accepted(() => tiles.parseBundle(fromHex(c.bytes), c.width));
      assert.deepEqual(entries?.map(toHex) ?? null, c.expected, c.name);
      if (entries) assert.equal(toHex(tiles.encodeBundle(entries)), c.bytes, c.name);
      return;
    }
    case "authenticate": {
      const files = new Map(Object.entries(c.tiles).map(([path, bytes]) => [path, fromHex(bytes)] as const));
      const proven = await accepted(() => tiles.authenticateTiles({ size: fromDecimal(c.size), root: fromHex(c.root) }, files));
      assert.equal(proven !== undefined, c.valid, c.name);
    }
  }
}

test("a prefix's root comes from the tiles of a consistency proof", async () => {
  const { CompactRange, leafHash } = await import("../src/merkle.js");
  const range = new CompactRange();
  const roots = [await range.root()];
  const leaves: Uint8Array<ArrayBuffer>[] = [];
  for (let i = 0; i < 700; i++) {
    leaves.push(await leafHash(Uint8Array.of(i >> 8, i & 255)));
    await range.append(leaves[i] ?? assert.fail());
    roots.push(await range.root());
  }
  const upper: Uint8Array<ArrayBuffer>[] = [];
  for (let from = 0; from + 256 <= leaves.length; from += 256) {
    const part = new CompactRange();
    for (const leaf of leaves.slice(from, from + 256)) await part.append(leaf);
    upper.push(await part.root());
  }
  const tileBytes = (path: string): Uint8Array<ArrayBuffer> => {
    const { level, index, width } = tiles.parseTilePath(path);
    const hashes = (level === 0 ? leaves : upper).slice(Number(index) * 256, Number(index) * 256 + width);
    return Uint8Array.from(hashes.flatMap((hash) => [...hash]));
  };
  for (const size of [1, 3, 256, 257, 513, 700]) {
    const head = { size: BigInt(size), root: roots[size] ?? assert.fail() };
    for (const old of [1, 2, 3, 255, 256, 257, 512, 640, 700].filter((old) => old <= size)) {
      const files = new Map(tiles.consistencyTiles(BigInt(old), head.size).map(tiles.tilePath).map((path) => [path, tileBytes(path)] as const));
      const proven = await tiles.authenticateTiles(head, files);
      assert.equal(toHex(await tiles.prefixRoot(proven, BigInt(old), head.size)), toHex(roots[old] ?? assert.fail()), `${old} in ${size}`);
      const proof = await consistencyPath(proven, BigInt(old), head.size, head.size);
      await verifyConsistency({ size: BigInt(old), root: roots[old] ?? assert.fail() }, head, proof);
      // The same, and inclusion, in trees below, from the newest one's tiles.
      const index = BigInt(old - 1);
      const below = (size === 700 && [1, 3, 257].includes(old) ? [3, 300, 513] : []).filter((middle) => middle >= old).map(BigInt);
      if (below.length === 0) continue;
      const names = pathTiles(head.size, [index], [BigInt(old), ...below]);
      const all = await tiles.authenticateTiles(head, new Map(names.map((path) => [path, tileBytes(path)] as const)));
      for (const middle of below) {
        const tree = { size: middle, root: roots[Number(middle)] ?? assert.fail() };
        assert.deepEqual(await rootAt(all, middle, head.size), tree.root);
        await verifyConsistency({ size: BigInt(old), root: roots[old] ?? assert.fail() }, tree, await consistencyPath(all, BigInt(old), middle, head.size));
        await verifyInclusion(leaves[old - 1] ?? assert.fail(), index, tree, await inclusionPath(all, index, middle, head.size));
      }
    }
  }
  await assert.rejects(inclusionPath(new Map(), 3n, 3n, 5n));
  await assert.rejects(consistencyPath(new Map(), 3n, 2n, 5n));
  await assert.rejects(rootAt(new Map(), 6n, 5n));
  await assert.rejects(tiles.prefixRoot(new Map(), 2n, 1n));
  await assert.rejects(tiles.prefixRoot(new Map(), 1n, 1n));
});
