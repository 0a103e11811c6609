import type { Manifest, Results } from "../../../verifier/src/index.js";
import type { Check, CheckState } from "../messages.js";
import type { HeadsReader } from "./heads.js";
import type { History } from "./history.js";
import { type Standing, worst } from "./standing.js";

/** What the proof panel is made of. */
export interface Seen {
  readonly now: number;
  readonly results: Results | undefined;
  readonly cells: readonly History[];
  readonly heads: HeadsReader;
  readonly manifest: Manifest;
  /** There was an earlier visit. */
  readonly remembered: boolean;
  readonly complete: Standing;
  readonly anchors: Standing;
  readonly witnesses: Standing;
  /** Logs under their spare key, without a notice that was read. */
  readonly spare: readonly (number | "heads")[];
  readonly ended: boolean;
  readonly behind: readonly number[];
  /** How long it takes until every cell had its turn (ms). */
  readonly turn: number;
}

/** A line of the proof panel for everything that was verified, or was not. None says verified of more than holds now. */
export function checks(seen: Seen): Check[] {
  const { results, cells } = seen;
  const after = (ready: boolean): CheckState => (ready ? "verified" : "waiting");
  const shown = results !== undefined;
  return [
    { id: "rules", state: "verified", values: {} },
    { id: "numbers", state: after(shown), values: { votes: results?.votes ?? 0 } },
    { id: "tallies", state: after(shown), values: { cells: cells.length } },
    completeCheck(seen),
    signatureCheck(seen, after(shown)),
    growthCheck(seen),
    headsCheck(seen),
    { id: "notices", state: seen.heads.complete ? "verified" : seen.heads.newest === undefined ? "waiting" : "unchecked", values: { count: seen.heads.notices.length } },
    witnessCheck(seen),
    anchorCheck(seen),
    ...outcomeChecks(seen, after),
  ];
}

function completeCheck({ complete, ended, behind, now }: Seen): Check {
  const state = complete.state(now);
  const note = state === "verified" ? {} : ended ? { note: "ended" } : behind.length > 0 ? { note: "behind" } : {};
  return { id: "complete", state, ...note, values: { cell: behind.slice(0, 8).join(", ") } };
}

function signatureCheck({ spare, cells }: Seen, state: CheckState): Check {
  const numbers = spare.filter((log) => log !== "heads");
  if (numbers.length > 0) return { id: "signatures", state: "unchecked", note: "spare", values: { cell: numbers.join(", ") } };
  if (spare.length > 0) return { id: "signatures", state: "unchecked", note: "heads", values: {} };
  return { id: "signatures", state, values: { cells: cells.length } };
}

function growthCheck({ cells, remembered, now, turn }: Seen): Check {
  const seen = cells.filter(({ newest }) => newest !== undefined);
  const state = seen.length === 0 ? "waiting" : worst(seen.map(({ growth }) => growth.state(now, turn)));
  return { id: "growth", state, note: remembered ? "visits" : "visit", values: { entries: cells.reduce((sum, { grown }) => sum + Number(grown?.size ?? 0n), 0) } };
}

function headsCheck({ cells, heads, now, turn }: Seen): Check {
  // A log that holds no tally has nothing that was shown of it.
  const named = cells.filter((_, k) => (heads.head?.logs[k]?.size ?? 0n) > 2n);
  const states = named.map(({ newest, named }): CheckState => (newest === undefined ? "waiting" : named.state(now, turn)));
  const state = heads.head === undefined ? "waiting" : worst([...states, heads.continues(now, cells)]);
  return { id: "heads", state, values: { compared: states.filter((state) => state === "verified").length, cells: named.length, size: Number(heads.newest?.size ?? 0n) } };
}

function witnessCheck({ manifest, heads, witnesses, now }: Seen): Check {
  const { keys, quorum } = manifest.witnesses;
  const { witnessed } = heads;
  if (keys.length === 0) return { id: "witnesses", state: "unchecked", note: "none", values: {} };
  const state = witnessed === undefined ? "waiting" : witnessed.count < quorum ? "unchecked" : witnesses.state(now);
  const note = witnessed !== undefined && state !== "verified" && witnessed.count >= quorum ? { note: "short" } : {};
  return { id: "witnesses", state, ...note, values: { count: witnessed?.count ?? 0, named: keys.length, quorum, size: Number(witnessed?.size ?? 0n), of: Number(heads.newest?.size ?? 0n), time: Number(witnessed?.time ?? 0n) * 1000 } };
}

function anchorCheck({ manifest, heads, anchors, now }: Seen): Check {
  const sizes = [...heads.anchored.values()].map(({ size }) => size);
  const all = sizes.length === manifest.anchors.length;
  const state = all || sizes.length > 0 ? anchors.state(now) : "waiting";
  const size = Number(sizes.reduce((least, size) => (size < least ? size : least), sizes[0] ?? 0n));
  return { id: "anchors", state, ...(all && state !== "verified" ? { note: "short" } : {}), values: { count: sizes.length, named: manifest.anchors.length, size, of: Number(heads.newest?.size ?? 0n) } };
}

function outcomeChecks({ results, manifest, heads }: Seen, after: (ready: boolean) => CheckState): Check[] {
  if (results?.status === "final") {
    const ranked = manifest.contests.some(({ method }) => method === "ranked");
    return [{ id: "outcome", state: !heads.final ? "waiting" : ranked ? "unchecked" : "verified", ...(ranked ? { note: "ranked" } : {}), values: {} }];
  }
  return results?.status === "cancelled" ? [{ id: "outcome", state: after(heads.cancelled), note: "cancelled", values: {} }] : [];
}
