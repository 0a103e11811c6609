import {
  type Bytes, type Manifest, type ProvenCell, type Results, VerifierError, checkTotals, fromHex, fromUtf8, parseResults, proveCells, toHex, verifyEd25519,
} from "../../../verifier/src/index.js";
import type { FindingId } from "../messages.js";
import { Unreachable } from "./source.js";

/** The most that the protocol allows, in section 12. */
const RESULTS_MAX = 1 << 28;

/** What was shown contradicts what was signed or fixed. */
export class Refuted extends Error {
  readonly id: FindingId;

  constructor(id: FindingId, message: string) {
    super(message);
    this.id = id;
  }
}

/** Runs `action`; what the verifier refuses in it is a finding of this kind. */
export async function refutedAs<T>(id: FindingId | ((code: string) => FindingId), action: () => T | Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (!(error instanceof VerifierError)) throw error;
    throw new Refuted(typeof id === "string" ? id : id(error.code), `${error.code}: ${error.message}`);
  }
}

export interface Judged { readonly results: Results; readonly cells: readonly ProvenCell[] }

/** Everything that results.json alone can show: form, labels, proofs, signatures, sums. */
export async function judge(bytes: Bytes, manifest: Manifest): Promise<Judged> {
  const results = await readResults(bytes, manifest);
  const cells = await refutedAs((code) => (code === "checkpoint" ? "signature" : "proof"), () => proveCells(results, manifest));
  await refutedAs("sums", () => checkTotals(results, cells, manifest));
  return { results, cells };
}

/**
 * The most bytes that results of an election can have, generously: its labels, as its manifest of so many characters has them, a proof a cell, 20 bytes a
 * number; of a run-off, as many rounds as options.
 */
export function resultsMax({ cells, contests }: Manifest, manifestLength: number): number {
  const numbers = contests.reduce((sum, { options, method }) => sum + (options.length + 8) * (method === "ranked" ? options.length + 1 : 1), 0);
  return Math.min(RESULTS_MAX, 65_536 + 4 * manifestLength + 132_000 * cells.length + 20 * numbers);
}

/** The form and the labels alone. */
export async function readResults(bytes: Bytes, manifest: Manifest): Promise<Results> {
  return refutedAs(() => kindOf(json(bytes), manifest), () => parseResults(bytes, manifest));
}

/** Bytes that are no JSON at all are some other server's page, or were cut short: that proves nothing against anybody. */
export function json(bytes: Bytes): unknown {
  try {
    return JSON.parse(fromUtf8(bytes));
  } catch {
    throw new Unreachable("not JSON");
  }
}

/** In which of the ways that a reader can understand it is wrong. */
function kindOf(value: unknown, manifest: Manifest): FindingId {
  const members = (value ?? {}) as { election?: unknown; contests?: unknown };
  if (typeof members.election === "string" && members.election !== toHex(manifest.election)) return "other-election";
  const contests = Array.isArray(members.contests) ? members.contests : [];
  const labels = contests.map((contest: { name?: unknown; options?: unknown } | null) => [contest?.name, contest?.options]);
  const right = manifest.contests.map(({ name, options }) => [name, options]);
  return JSON.stringify(labels) === JSON.stringify(right) ? "contradiction" : "labels";
}

/** Whether this browser verifies Ed25519: it must accept RFC 8032's first test, and refuse it for another message. */
export async function canVerify(): Promise<boolean> {
  if (globalThis.crypto?.subtle === undefined) return false;
  const key = fromHex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  const signature = fromHex(
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
  );
  return (await verifyEd25519(key, new Uint8Array(0), signature)) && !(await verifyEd25519(key, new Uint8Array(1), signature));
}
