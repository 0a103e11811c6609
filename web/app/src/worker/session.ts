import { type Bytes, type Head, type Manifest, type ProvenCell, type Results, VerifierError, equal, fromUtf8, openManifest, parseTlogProof, toHex, utf8 } from "../../../verifier/src/index.js";
import type { CellView, Check, Connection, ElectionView, Finding, FindingId, HeadView, Memory, Point, ResultsView, Snapshot } from "../messages.js";
import { checks } from "./checks.js";
import { Fork } from "./grow.js";
import { HeadsReader } from "./heads.js";
import { History, type Shown } from "./history.js";
import { Refuted, judge, json, readResults, refutedAs, resultsMax } from "./judge.js";
import { LAG_MAX_MS, Standing } from "./standing.js";
import { type Source, Unreachable } from "./source.js";

/** How many cells are proven against older trees in one round: their tiles are what a watcher's data goes to. */
const CELLS_A_ROUND = 8;
/** How long a round takes, with the pause behind it. */
export const ROUND_MS = 10_000;
const POINTS_MAX = 4_000;
const FINDINGS_MAX = 20;

/** One reader's view of one election: what was verified, and what was found. It believes nothing that is not signed. */
export class Session {
  connection: Connection = "connecting";
  private readonly findings = new Map<string, Finding>();
  private readonly cells: History[];
  private readonly heads: HeadsReader;
  private results: Results | undefined;
  private verifiedAt: number | undefined;
  /** That the server shows no older results than before. */
  private readonly newer = new Standing();
  /** That the results reach as far as the election's record, and as far as what was remembered. */
  private readonly complete = new Standing();
  private readonly anchors = new Standing();
  private readonly witnesses = new Standing();
  private readonly remembered: boolean;
  private turn = 0;
  private readonly manifest: Manifest;
  private readonly length: number;
  private readonly capable: boolean;
  private readonly now: () => number;

  /** The election of this id, from manifest bytes that must hash to it. */
  static async open(source: Source, id: string, bytes: Bytes, memory: Memory | null, capable: boolean, now: () => number = Date.now): Promise<Session> {
    json(bytes);
    const manifest = await refutedAs("rules", () => openManifest(bytes, id));
    return new Session(source, manifest, fromUtf8(bytes), capable, memory, now).recall(memory);
  }

  private constructor(source: Source, manifest: Manifest, text: string, capable: boolean, memory: Memory | null, now: () => number) {
    [this.manifest, this.length, this.capable, this.now] = [manifest, text.length, capable, now];
    this.remembered = memory !== null;
    this.cells = manifest.cells.map((_, cell) => new History({ kind: "cell", cell }, source, manifest, text));
    this.heads = new HeadsReader(source, manifest, text, now);
  }

  /** Takes what an earlier visit kept, as far as it is signed. */
  private async recall(memory: Memory | null): Promise<this> {
    for (const finding of memory?.findings ?? []) this.keep(finding);
    for (const [k, cell] of this.cells.entries()) {
      const note = memory?.cells[k];
      if (typeof note === "string") cell.grown = await cell.open(note).catch(() => undefined);
    }
    if (typeof memory?.heads === "string") await this.heads.recall(memory.heads);
    return this;
  }

  keep(finding: Finding): void {
    const name = `${finding.id} ${finding.cell ?? ""}`;
    if (!this.findings.has(name) && this.findings.size < FINDINGS_MAX) this.findings.set(name, finding);
  }

  private found(id: FindingId, detail: string, cell?: number, evidence?: string): void {
    this.keep({ id, at: this.now(), detail, ...(cell === undefined ? {} : { cell }), ...(evidence === undefined ? {} : { evidence }) });
  }

  /** What the server could not be asked says nothing; anything else that was thrown is a finding. */
  private blame(error: unknown, cell?: number): void {
    if (error instanceof Unreachable) return;
    if (error instanceof Refuted) this.found(error.id, error.message, cell);
    else if (error instanceof Fork) this.found("fork", error.message, cell, error.evidence);
    else if (error instanceof VerifierError) this.found("files", `${error.code}: ${error.message}`, cell);
    else throw error;
  }

  /** The most bytes that results of this election can have. */
  get resultsMax(): number {
    return resultsMax(this.manifest, this.length);
  }

  /** Bytes of results.json, from the stream or by asking. */
  async offer(bytes: Bytes): Promise<void> {
    try {
      if (!this.capable) {
        this.results = await readResults(bytes, this.manifest);
        return;
      }
      const { results, cells } = await judge(bytes, this.manifest);
      const shown = shownBy(results, cells);
      if (await this.fits(results, shown)) this.adopt(results, cells, shown);
    } catch (error) {
      this.blame(error);
    }
  }

  /** Whether these results continue what was shown. Older ones may come from a copy that lags. */
  private async fits(results: Results, shown: ReadonlyMap<number, Shown>): Promise<boolean> {
    let older = false;
    for (const [k, cell] of this.cells.entries()) {
      const [known, now] = [cell.newest, shown.get(k)];
      if (known === undefined) continue;
      if (now === undefined || now.size < known.size) older = true;
      if (now === undefined) continue;
      if (now.size === known.size && !equal(now.root, known.root)) {
        // Two roots of one size: the evidence needs no file.
        await cell.against(now, known).catch((error: unknown) => this.blame(error, k));
        return false;
      }
      if (now.size < known.size) cell.showOlder(now);
    }
    const before = this.results?.status ?? "open";
    if (before !== "open" && results.status === "open") older = true;
    // While an election is cancelled its logs may still grow; final results never change, and nothing that was cancelled becomes final.
    const changed = before === "final" ? JSON.stringify(results) !== JSON.stringify(this.results) : before === "cancelled" && results.status === "final";
    if (!older && changed) {
      this.found("final-changed", `${before} results that were changed afterwards`);
      return false;
    }
    if (older) this.newer.miss(this.now());
    else this.newer.hold();
    return !older;
  }

  private adopt(results: Results, proven: readonly ProvenCell[], shown: ReadonlyMap<number, Shown>): void {
    for (const { cell: k, tally } of proven) {
      const [cell, tree] = [this.cells[k], shown.get(k)];
      if (cell === undefined || tree === undefined) continue;
      cell.show(tree, this.now());
      const votes = Number(tally.sums.votes);
      if (votes !== cell.tally?.votes) this.addPoint(cell, [Number(tally.time), votes]);
      cell.tally = { votes, time: Number(tally.time) };
    }
    this.results = results;
    this.verifiedAt = this.now();
    this.judgeAll();
  }

  private addPoint(cell: History, point: Point): void {
    cell.points.push(point);
    // Thinned, so that an hour open costs no more than a minute.
    if (cell.points.length > Math.max(16, POINTS_MAX / this.cells.length)) cell.points = cell.points.filter((_, i) => i % 2 === 1 || i === cell.points.length - 1);
  }

  /** One round: trees against older trees of the same log, the heads log, and both against each other. */
  async round(): Promise<void> {
    const due = this.cells.map((_, k) => k).filter((k) => this.cells[k]?.isDue(this.heads.head?.logs[k]) === true);
    for (let i = 0; i < Math.min(CELLS_A_ROUND, due.length); i++) {
      const k = due[(this.turn + i) % due.length];
      if (k !== undefined) await this.grow(k);
    }
    this.turn += CELLS_A_ROUND;
    await this.readHeads().catch((error: unknown) => this.blame(error));
  }

  /** Proves that a cell's newest tree continues those seen before, and is of the history that the newest head names. */
  private async grow(k: number): Promise<void> {
    const cell = this.cells[k];
    if (cell === undefined) return;
    for (const error of await cell.grow(this.now)) this.blame(error, k);
    const head = this.heads.head?.logs[k];
    if (head === undefined) return;
    await cell.compare({ size: head.size, root: head.root, note: undefined }).catch((error: unknown) => this.blame(error instanceof Fork ? new Refuted("heads-differ", error.message) : error, k));
  }

  private async readHeads(): Promise<void> {
    await this.heads.advance();
    this.heads.head?.logs.slice(0, this.cells.length).forEach((tree, k) => this.cells[k]?.name(tree, this.now()));
    this.judgeAll();
    // Wrong cosignatures and anchors prove nothing against the numbers: they are not counted.
    await this.heads.lookForWitnesses().catch((error: unknown) => (error instanceof VerifierError ? undefined : this.blame(error)));
    this.judgeReach();
  }

  async readAnchors(): Promise<void> {
    await this.heads.lookAtAnchors().catch((error: unknown) => (error instanceof VerifierError ? undefined : this.blame(error)));
    this.judgeReach();
  }

  /** The end was recorded, and not every anchor was seen to hold it. */
  get awaitsAnchors(): boolean {
    return this.heads.final && this.anchors.state(this.now()) !== "verified";
  }

  /** Judges what was read from one place beside what was read from the other: after each of them has changed. */
  private judgeAll(): void {
    this.judgeKeys();
    this.judgeComplete();
    this.judgeFinal();
  }

  /** Logs whose newest checkpoint stands under the spare key, without a notice that was read. */
  private readonly spare = new Set<number | "heads">();

  private judgeKeys(): void {
    this.spare.clear();
    for (const [k, { newest }] of this.cells.entries()) if (newest !== undefined) this.judgeKey(k, newest);
    if (this.heads.newest !== undefined) this.judgeKey("heads", this.heads.newest);
  }

  private judgeKey(log: number | "heads", { key, size }: Shown): void {
    const switched = this.heads.switchedAt(log);
    const above = switched !== undefined && size > switched;
    const [name, cell] = log === "heads" ? ["the heads log", undefined] : [`cell ${log}`, log];
    if (key === "main" && above) this.found("signature", `${name} is signed with a key that the authority has retired`, cell);
    if (key === "spare" && !above) this.spare.add(log);
  }

  /** Cells of which the results show less than the newest head names, or than an earlier visit was shown. */
  private behind(): number[] {
    const named = (k: number): bigint => this.heads.head?.logs[k]?.size ?? 0n;
    // A log that holds no tally need not be shown yet.
    const needed = (k: number): bigint => [named(k), this.cells[k]?.grown?.size ?? 0n].reduce((most, size) => (size > 2n && size > most ? size : most), 0n);
    return this.cells.map((_, k) => k).filter((k) => BigInt(this.results?.cells[k]?.size ?? 0) < needed(k));
  }

  /** The record has ended, and the results say that voting goes on. */
  private ended(): boolean {
    return this.results?.status === "open" && (this.heads.final || this.heads.cancelled);
  }

  private judgeComplete(): void {
    if (this.results === undefined || this.heads.head === undefined) return;
    if (this.ended() || this.behind().length > 0) this.complete.miss(this.now());
    else this.complete.hold();
  }

  /** The final results count exactly what the final head names, of an election that was not cancelled. */
  private judgeFinal(): void {
    const { head } = this.heads;
    if (this.results?.status !== "final" || head === undefined) return;
    if (this.heads.cancelled) this.found("contradiction", "results that say final, of an election whose heads log holds a cancel notice");
    if (head.type !== "final-head") return;
    this.results.cells.forEach(({ size }, k) => {
      if (head.logs[k]?.size !== BigInt(size)) this.found("final-sizes", `cell ${k}: ${size} entries are counted, the final head names ${head.logs[k]?.size}`, k);
    });
  }

  /** Whether anchors and witnesses reach as far as they must by now. */
  private judgeReach(): void {
    if (this.heads.newest === undefined) return;
    for (const [standing, reaches] of [[this.anchors, this.heads.anchorsReach], [this.witnesses, this.heads.witnessesReach]] as const) {
      if (reaches) standing.hold();
      else standing.miss(this.now());
    }
  }

  memory(): Memory {
    return { cells: this.cells.map(({ grown }) => grown?.note ?? null), heads: this.heads.remember(), findings: [...this.findings.values()] };
  }

  snapshot(): Snapshot {
    const { results } = this;
    const now = this.now();
    const limit = Math.max(LAG_MAX_MS, 3 * this.manifest.headIntervalMs);
    const late = [this.newer, this.complete, this.heads.continued].flatMap((standing) => standing.lateSince(now, limit) ?? []);
    return {
      kind: "snapshot", election: this.election(), results: results && view(results), cells: this.cells.map((_, k) => this.cellView(k)), head: this.headView(this.heads.head),
      checks: this.capable ? this.checks(now) : [{ id: "rules", state: "verified", values: {} }], findings: [...this.findings.values()], connection: this.connection, verifiedAt: this.verifiedAt,
      stuckSince: late.length > 0 ? Math.min(...late) : undefined, incapable: !this.capable,
    };
  }

  private checks(now: number): Check[] {
    const { results, cells, heads, manifest, remembered, complete, anchors, witnesses } = this;
    return checks({
      now, results, cells, heads, manifest, remembered, complete, anchors, witnesses, spare: [...this.spare], ended: this.ended(), behind: this.behind(),
      turn: Math.ceil(cells.length / CELLS_A_ROUND) * ROUND_MS,
    });
  }

  private election(): ElectionView {
    const { election, title, demo, times, roll, cells, contests, anchors, witnesses } = this.manifest;
    return {
      id: toHex(election), title, demo, opening: times.opening, closing: times.closing, roll: roll.size, cells: cells.length, contests, anchors,
      witnesses: witnesses.keys.length, quorum: witnesses.quorum,
    };
  }

  private cellView(k: number): CellView {
    const cell = this.cells[k];
    return {
      size: Number(cell?.newest?.size ?? this.results?.cells[k]?.size ?? 0), votes: cell?.tally?.votes ?? 0, time: cell?.tally?.time, state: this.heads.head?.logs[k]?.state,
      grown: Number(cell?.grown?.size ?? 0), points: cell?.points ?? [], note: cell?.newest?.note,
    };
  }

  private headView(head: Head | undefined): HeadView | undefined {
    if (head === undefined) return undefined;
    const extended = this.heads.notices.flatMap(({ body }) => (body.kind === "extend" ? [Number(body.closing)] : []));
    return {
      time: Number(head.time), size: Number(this.heads.newest?.size ?? 0n), final: this.heads.final, closing: Math.max(this.manifest.times.closing, ...extended), cancelled: this.heads.cancelled,
    };
  }
}

/** The trees that results show, each under the checkpoint of its proof. */
function shownBy(results: Results, proven: readonly ProvenCell[]): Map<number, Shown> {
  return new Map(proven.map(({ cell, size, root, key }) => [cell, { size, root, key, note: fromUtf8(parseTlogProof(utf8(results.cells[cell]?.proof ?? "")).checkpoint) }]));
}

function view({ status, votes, abstentions, contests }: Results): ResultsView {
  return { status, votes, abstentions, contests };
}
