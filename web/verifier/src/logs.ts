import { type Bytes, concat, toHex, uint } from "./bytes.js";
import { fail } from "./error.js";
import type { KeyPair, Manifest } from "./manifest.js";

/** One of an election's logs. */
export type LogId =
  | { readonly kind: "cell"; readonly cell: number }
  | { readonly kind: "issuance"; readonly registrar: number; readonly shard: number }
  | { readonly kind: "heads" };

export const HEADS: LogId = { kind: "heads" };

/** The nine bytes of a log id. */
export function encodeLogId(log: LogId): Bytes {
  const [kind, a, b] = log.kind === "cell" ? [1, log.cell, 0] : log.kind === "issuance" ? [2, log.registrar, log.shard] : [3, 0, 0];
  return concat(Uint8Array.of(kind), uint(BigInt(a), 4), uint(BigInt(b), 4));
}

/** The log of this election that has these numbers. */
export function logOf(manifest: Manifest, kind: number, a: number, b: number, code: string): LogId {
  if (kind === 1 && a < manifest.cells.length && b === 0) return { kind: "cell", cell: a };
  if (kind === 2 && b < (manifest.registrars[a]?.shards.length ?? 0)) return { kind: "issuance", registrar: a, shard: b };
  if (kind === 3 && a === 0 && b === 0) return HEADS;
  return fail(code, "a log that the election does not have");
}

/** The log's place below the election's folder. */
export function prefixOf(log: LogId): string {
  if (log.kind === "cell") return `cells/${log.cell}`;
  return log.kind === "issuance" ? `registrars/${log.registrar}/${log.shard}` : "heads";
}

/** The log's origin: the first line of its checkpoints, and the name of its keys. */
export function originOf(manifest: Manifest, log: LogId): string {
  return `${manifest.base}/elections/${toHex(manifest.election)}/${prefixOf(log)}`;
}

/** The log's keys. */
export function keysOf(manifest: Manifest, log: LogId): KeyPair {
  const keys = log.kind === "cell" ? manifest.cells[log.cell] : log.kind === "heads" ? manifest.heads : manifest.registrars[log.registrar]?.shards[log.shard];
  return keys ?? fail("log", "a log that the election does not have");
}

export function sameLog(a: LogId, b: LogId): boolean {
  return prefixOf(a) === prefixOf(b);
}

/** The logs of a head, in its order: the cells, then each registrar's shards. */
export function headLogs(manifest: Manifest): LogId[] {
  const cells = manifest.cells.map((_, cell): LogId => ({ kind: "cell", cell }));
  const shards = manifest.registrars.flatMap((registrar, r) => registrar.shards.map((_, shard): LogId => ({ kind: "issuance", registrar: r, shard })));
  return [...cells, ...shards];
}
