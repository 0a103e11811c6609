// What the page and its workers say to each other: plain values, which the browser copies.

export interface ContestRules { readonly name: string; readonly options: readonly string[]; readonly method: "plurality" | "approval" | "ranked"; readonly tieRule: string }

/** What the page shows of a manifest that hashes to the id. */
export interface ElectionView {
  readonly id: string;
  readonly title: string;
  readonly demo: boolean;
  readonly opening: number;
  readonly closing: number;
  readonly roll: number;
  readonly cells: number;
  readonly contests: readonly ContestRules[];
  readonly anchors: readonly string[];
  readonly witnesses: number;
  readonly quorum: number;
}

export interface RoundView { readonly counts: readonly (number | undefined)[]; readonly eliminated: number | undefined; readonly exhausted: number; readonly tieBroken: boolean }

export interface ContestView {
  readonly blanks: number;
  readonly counts: readonly number[];
  readonly winner: number | undefined;
  readonly tieBroken: boolean | undefined;
  readonly rounds: readonly RoundView[] | undefined;
}

export interface ResultsView {
  readonly status: "open" | "final" | "cancelled";
  readonly votes: number;
  readonly abstentions: number;
  readonly contests: readonly ContestView[];
}

/** What a tally entry says of its cell: so many votes at this time. */
export type Point = readonly [time: number, votes: number];

export interface CellView {
  readonly size: number;
  readonly votes: number;
  /** Of the newest tally entry. */
  readonly time: number | undefined;
  /** In the newest head. */
  readonly state: "open" | "stale" | "closed" | undefined;
  /** Up to which size it was proven to only have grown. */
  readonly grown: number;
  readonly points: readonly Point[];
  /** The signed checkpoint, for recounting. */
  readonly note: string | undefined;
}

/**
 * What was verified, one line of the proof panel each:
 * rules (the manifest against the id), numbers (sums and winner), tallies (proofs in the logs), complete (nothing left out), signatures, growth, heads, notices, witnesses, anchors, outcome.
 */
export type CheckId = "rules" | "numbers" | "tallies" | "complete" | "signatures" | "growth" | "heads" | "notices" | "witnesses" | "anchors" | "outcome";
export type CheckState = "verified" | "waiting" | "unchecked";
export interface Check { readonly id: CheckId; readonly state: CheckState; readonly note?: string; readonly values: Readonly<Record<string, number | string>> }

/** What contradicts what was signed or fixed: the server, or whoever stands in between, shows something false. */
export type FindingId =
  | "rules" | "other-election" | "labels" | "sums" | "contradiction" | "proof" | "signature" | "fork" | "heads-differ" | "heads-proof" | "head-falls"
  | "files" | "recount" | "final-changed" | "final-sizes" | "anchor" | "notice" | "other-id";
export interface Finding {
  readonly id: FindingId;
  /** When it was first seen. */
  readonly at: number;
  /** For experts: the verifier's own words. */
  readonly detail: string;
  readonly cell?: number;
  /** A split-view file (section 17 of the protocol), which convinces anybody. */
  readonly evidence?: string;
}

export type Connection = "connecting" | "live" | "polling" | "unreachable";

export interface HeadView { readonly time: number; readonly size: number; readonly final: boolean; readonly closing: number; readonly cancelled: boolean }

export interface Snapshot {
  readonly kind: "snapshot";
  readonly election: ElectionView | undefined;
  readonly results: ResultsView | undefined;
  readonly cells: readonly CellView[];
  readonly head: HeadView | undefined;
  readonly checks: readonly Check[];
  readonly findings: readonly Finding[];
  readonly connection: Connection;
  /** When the newest numbers were verified. */
  readonly verifiedAt: number | undefined;
  /** The server has shown older numbers than before for so long that no delay explains it. */
  readonly stuckSince: number | undefined;
  /** This browser cannot verify signatures, or the address is none that lets it. */
  readonly incapable: boolean;
}

/** What the page keeps on the device between visits, so that a second history is noticed then too. */
export interface Memory { readonly cells: readonly (string | null)[]; readonly heads: string | null; readonly findings: readonly Finding[] }

export interface Remember { readonly kind: "remember"; readonly memory: Memory }

export interface Recounted {
  readonly kind: "recounted";
  readonly cell: number;
  readonly from: number;
  readonly to: number;
  readonly votes: number;
  readonly size: number;
  readonly bytes: number;
  readonly ms: number;
}
/** Nothing to recount, or not within the budget, or the files were not there. */
export interface NotRecounted { readonly kind: "not-recounted"; readonly why: "empty" | "long" | "unreachable" }
export interface RecountFailed { readonly kind: "recount-failed"; readonly finding: Finding }
export interface History { readonly kind: "history"; readonly points: readonly (readonly Point[])[]; readonly bytes: number }

export type FromWorker = Snapshot | Remember | Recounted | NotRecounted | RecountFailed | History;

export interface Follow { readonly kind: "follow"; readonly base: string; readonly id: string; readonly memory: Memory | null }
export interface Recount {
  readonly kind: "recount" | "sample";
  readonly base: string;
  readonly id: string;
  readonly cells: readonly { readonly size: number; readonly note: string | undefined }[];
  readonly maxBytes: number;
  readonly maxVotes: number;
}
/** The recount found something: it stays with everything else. */
export interface Report { readonly kind: "report"; readonly finding: Finding }
export type ToWorker = Follow | Recount | Report;
