import {
  type Bytes, type Head, type LogId, type Manifest, type ProvenCell, type Results, VerifierError, equal, fromUtf8, keysOf, openCheckpoint, openManifest, originOf, parseTlogProof,
  prefixOf, toHex, utf8,
} from "../../../verifier/src/index.js";
import type { CellView, Check, CheckState, Connection, ElectionView, Finding, FindingId, HeadView, Memory, Point, ResultsView, Snapshot } from "../messages.js";
import { Fork, type Signed, prove } from "./grow.js";
import { HeadsReader } from "./heads.js";
import { Refuted, judge, json, readResults, refutedAs } from "./judge.js";
import { type Source, Unreachable } from "./source.js";

/** How many cells are proven against older trees in one round: their tiles are what a watcher's data goes to. */
const CELLS_A_ROUND = 8;
const POINTS_MAX = 4_000;
const FINDINGS_MAX = 20;
/** Older numbers than before may come from a copy that lags; for so long, no copy does. */
const LAG_MAX_MS = 60_000;

interface Cell {
  readonly log: LogId;
  newest?: Signed & { readonly note: string };
  tally?: { readonly votes: number; readonly time: number };
  /** Signed trees that must be beginnings of the newest one, or contain it: from the last visit, from older answers. */
  readonly others: Signed[];
  /** The newest tree that was proven to continue all seen before it. */
  grown?: Signed;
  /** The head's tree that was last proven to be of the same history. */
  headSize?: bigint;
  points: Point[];
}

/** One reader's view of one election: what was verified, and what was found. It believes nothing that is not signed. */
export class Session {
  connection: Connection = "connecting";
  private readonly findings = new Map<string, Finding>();
  private readonly cells: Cell[];
  private readonly heads: HeadsReader;
  private results: Results | undefined;
  private verifiedAt: number | undefined;
  private lagsSince: number | undefined;
  private growthAt: number | undefined;
  private readonly remembered: boolean;
  private rememberedHeads: string | undefined;
  private turn = 0;
  private readonly source: Source;
  private readonly manifest: Manifest;
  private readonly text: string;
  private readonly capable: boolean;

  /** The election of this id, from manifest bytes that must hash to it. */
  static async open(source: Source, id: string, bytes: Bytes, memory: Memory | null, capable: boolean): Promise<Session> {
    json(bytes);
    const manifest = await refutedAs("rules", () => openManifest(bytes, id));
    return new Session(source, manifest, fromUtf8(bytes), capable, memory).recall(memory);
  }

  private constructor(source: Source, manifest: Manifest, text: string, capable: boolean, memory: Memory | null) {
    this.source = source;
    this.manifest = manifest;
    this.text = text;
    this.capable = capable;
    this.remembered = memory !== null;
    this.cells = manifest.cells.map((_, cell): Cell => ({ log: { kind: "cell", cell }, others: [], points: [] }));
    this.heads = new HeadsReader(source, manifest, text);
  }

  /** Takes what an earlier visit kept, as far as it is signed. */
  private async recall(memory: Memory | null): Promise<this> {
    for (const finding of memory?.findings ?? []) this.keep(finding);
    for (const [k, cell] of this.cells.entries()) {
      const note = memory?.cells[k];
      if (typeof note !== "string") continue;
      const signed = await this.open(cell, note).catch(() => undefined);
      if (signed !== undefined) cell.others.push(signed);
    }
    this.rememberedHeads = memory?.heads ?? undefined;
    return this;
  }

  private async open(cell: Cell, note: string): Promise<Signed & { note: string }> {
    const { size, root } = await openCheckpoint(utf8(note), originOf(this.manifest, cell.log), keysOf(this.manifest, cell.log));
    return { size, root, note };
  }

  keep(finding: Finding): void {
    const name = `${finding.id} ${finding.cell ?? ""}`;
    if (!this.findings.has(name) && this.findings.size < FINDINGS_MAX) this.findings.set(name, finding);
  }

  private found(id: FindingId, detail: string, cell?: number, evidence?: string): void {
    this.keep({ id, at: Date.now(), detail, ...(cell === undefined ? {} : { cell }), ...(evidence === undefined ? {} : { evidence }) });
  }

  /** What the server could not be asked says nothing; anything else that was thrown is a finding. */
  private blame(error: unknown, cell?: number): void {
    if (error instanceof Unreachable) return;
    if (error instanceof Refuted) this.found(error.id, error.message, cell);
    else if (error instanceof Fork) this.found("fork", error.message, cell, error.evidence);
    else if (error instanceof VerifierError) this.found("files", `${error.code}: ${error.message}`, cell);
    else throw error;
  }

  /** Bytes of results.json, from the stream or by asking. */
  async offer(bytes: Bytes): Promise<void> {
    try {
      if (!this.capable) {
        this.results = await readResults(bytes, this.manifest);
        return;
      }
      const { results, cells } = await judge(bytes, this.manifest);
      if (await this.fits(results, cells)) this.adopt(results, cells);
    } catch (error) {
      this.blame(error);
    }
  }

  /** Whether these results continue what was shown. Older ones may come from a copy that lags. */
  private async fits(results: Results, proven: readonly ProvenCell[]): Promise<boolean> {
    const signed = this.signed(results, proven);
    let older = false;
    for (const [k, cell] of this.cells.entries()) {
      const [known, now] = [cell.newest, signed.get(k)];
      if (known === undefined) continue;
      if (now === undefined || now.size < known.size) older = true;
      if (now === undefined) continue;
      if (now.size === known.size && !equal(now.root, known.root)) {
        cell.others.push(now);
        // Two roots of one size: `grow` makes the evidence, without any file.
        await this.grow(k);
        return false;
      }
      if (now.size < known.size && cell.others.length < 8) cell.others.push(now);
    }
    if (this.results !== undefined && this.results.status !== "open") {
      if (results.status === "open") older = true;
      else if (!older && JSON.stringify(results) !== JSON.stringify(this.results)) {
        this.found("final-changed", `${this.results.status} results that were changed afterwards`);
        return false;
      }
    }
    if (older) this.lagsSince ??= Date.now();
    else this.lagsSince = undefined;
    return !older;
  }

  private signed(results: Results, proven: readonly ProvenCell[]): Map<number, Signed & { note: string }> {
    return new Map(proven.map(({ cell, size, root }) => [cell, { size, root, note: fromUtf8(parseTlogProof(utf8(results.cells[cell]?.proof ?? "")).checkpoint) }]));
  }

  private adopt(results: Results, proven: readonly ProvenCell[]): void {
    const signed = this.signed(results, proven);
    for (const { cell: k, tally, key, size } of proven) {
      const [cell, now] = [this.cells[k], signed.get(k)];
      if (cell === undefined || now === undefined) continue;
      cell.newest = now;
      cell.grown ??= now;
      const votes = Number(tally.sums.votes);
      if (votes !== cell.tally?.votes) this.addPoint(cell, [Number(tally.time), votes]);
      cell.tally = { votes, time: Number(tally.time) };
      this.judgeKey(k, key, size);
    }
    this.results = results;
    this.verifiedAt = Date.now();
    this.judgeFinal();
  }

  private addPoint(cell: Cell, point: Point): void {
    cell.points.push(point);
    // Thinned, so that an hour open costs no more than a minute.
    if (cell.points.length > Math.max(16, POINTS_MAX / this.cells.length)) cell.points = cell.points.filter((_, i) => i % 2 === 1 || i === cell.points.length - 1);
  }

  /** Which cells' checkpoints stand under the spare key without a notice that was read. */
  private readonly spare = new Set<number>();

  private judgeKey(k: number, key: "main" | "spare", size: bigint): void {
    const notice = this.heads.notices.find(({ body }) => body.kind === "switch" && body.log.kind === "cell" && body.log.cell === k)?.body;
    const above = notice?.kind === "switch" && size > notice.size;
    if (key === "main" && above) this.found("signature", `cell ${k} is signed with a key that the authority has retired`, k);
    if (key === "spare" && !above) this.spare.add(k);
    else this.spare.delete(k);
  }

  /** One round: trees against older trees of the same log, the heads log, and both against each other. */
  async round(): Promise<void> {
    const due = this.cells.map((_, k) => k).filter((k) => this.isDue(k));
    for (let i = 0; i < Math.min(CELLS_A_ROUND, due.length); i++) {
      const k = due[(this.turn + i) % due.length];
      if (k !== undefined) await this.grow(k);
    }
    this.turn += CELLS_A_ROUND;
    await this.readHeads().catch((error: unknown) => this.blame(error));
  }

  private isDue(k: number): boolean {
    const cell = this.cells[k];
    const head = this.heads.head?.logs[k];
    if (cell?.newest === undefined) return false;
    return cell.others.length > 0 || cell.grown?.size !== cell.newest.size || (head !== undefined && head.size !== cell.headSize);
  }

  /** Proves that a cell's newest tree continues those seen before, and is of the history that the newest head names. */
  private grow(k: number): Promise<void> {
    this.growing = this.growing.then(() => this.growNow(k));
    return this.growing;
  }

  /** One after the other: the stream and the rounds may ask at once. */
  private growing: Promise<void> = Promise.resolve();

  private async growNow(k: number): Promise<void> {
    const cell = this.cells[k];
    if (cell?.newest === undefined) return;
    const { newest, log } = cell;
    const against = (other: Signed): Promise<void> => prove(this.source, this.manifest, this.text, prefixOf(log), other, newest);
    try {
      for (const other of [...cell.others]) {
        await against(other);
        cell.others.splice(cell.others.indexOf(other), 1);
      }
      if (cell.grown !== undefined) await against(cell.grown);
      cell.grown = newest;
      this.growthAt = Date.now();
    } catch (error) {
      // The server's own contradiction is kept; it need not be proven again every round.
      if (error instanceof Fork) cell.others.length = 0;
      return this.blame(error, k);
    }
    const head = this.heads.head?.logs[k];
    if (head === undefined || head.size === cell.headSize) return;
    try {
      await against({ size: head.size, root: head.root, note: undefined });
    } catch (error) {
      return this.blame(error instanceof Fork ? new Refuted("heads-differ", error.message) : error, k);
    }
    cell.headSize = head.size;
  }

  private async readHeads(): Promise<void> {
    const first = this.heads.newest === undefined;
    await this.heads.advance();
    if (first && this.rememberedHeads !== undefined && this.heads.newest !== undefined) {
      const kept = await this.heads.open(this.rememberedHeads).catch(() => undefined);
      if (kept !== undefined) await this.heads.prove(kept, this.heads.newest);
    }
    this.judgeFinal();
    // Wrong cosignatures and anchors prove nothing against the numbers: they are not counted.
    await this.heads.lookForWitnesses().catch((error: unknown) => (error instanceof VerifierError ? undefined : this.blame(error)));
  }

  async readAnchors(): Promise<void> {
    await this.heads.lookAtAnchors().catch((error: unknown) => (error instanceof VerifierError ? undefined : this.blame(error)));
  }

  /** The final results count exactly what the final head names. */
  private judgeFinal(): void {
    const { head } = this.heads;
    if (this.results?.status !== "final" || head?.type !== "final-head") return;
    this.results.cells.forEach(({ size }, k) => {
      if (head.logs[k]?.size !== BigInt(size)) this.found("final-sizes", `cell ${k}: ${size} entries are counted, the final head names ${head.logs[k]?.size}`, k);
    });
  }

  memory(): Memory {
    return {
      cells: this.cells.map(({ grown }) => grown?.note ?? null),
      heads: this.heads.newest?.note ?? this.rememberedHeads ?? null,
      findings: [...this.findings.values()],
    };
  }

  snapshot(): Snapshot {
    const { results } = this;
    const late = this.lagsSince !== undefined && Date.now() - this.lagsSince > Math.max(LAG_MAX_MS, 3 * this.manifest.headIntervalMs);
    return {
      kind: "snapshot", election: this.election(), results: results && view(results), cells: this.cells.map((_, k) => this.cellView(k)), head: this.headView(this.heads.head),
      checks: this.capable ? this.checks() : [{ id: "rules", state: "verified", values: {} }], findings: [...this.findings.values()], connection: this.connection, verifiedAt: this.verifiedAt,
      stuckSince: late ? this.lagsSince : undefined, incapable: !this.capable,
    };
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
      time: Number(head.time), size: Number(this.heads.newest?.size ?? 0n), final: head.type === "final-head", closing: Math.max(this.manifest.times.closing, ...extended),
      cancelled: this.heads.notices.some(({ body }) => body.kind === "cancel"),
    };
  }

  private checks(): Check[] {
    const { results, heads, cells } = this;
    const after = (ready: boolean): CheckState => (ready ? "verified" : "waiting");
    const shown = results !== undefined;
    const compared = cells.filter(({ newest, headSize }) => newest !== undefined && headSize !== undefined).length;
    const comparable = cells.filter(({ newest }) => newest !== undefined).length;
    const list: Check[] = [
      { id: "rules", state: "verified", values: {} },
      { id: "numbers", state: after(shown), values: { votes: results?.votes ?? 0 } },
      { id: "tallies", state: after(shown), values: { cells: cells.length } },
      this.spare.size > 0 ? { id: "signatures", state: "unchecked", note: "spare", values: { cell: [...this.spare].join(", ") } } : { id: "signatures", state: after(shown), values: { cells: cells.length } },
      { id: "growth", state: after(this.growthAt !== undefined), note: this.remembered ? "visits" : "visit", values: { entries: cells.reduce((sum, { grown }) => sum + Number(grown?.size ?? 0n), 0) } },
      { id: "heads", state: after(heads.head !== undefined && compared === comparable && comparable > 0), values: { compared, cells: comparable, size: Number(heads.newest?.size ?? 0n) } },
      { id: "notices", state: heads.complete ? "verified" : heads.newest === undefined ? "waiting" : "unchecked", values: { count: heads.notices.length } },
      this.witnessCheck(),
      { id: "anchors", state: after(heads.anchored.size === this.manifest.anchors.length), values: { count: heads.anchored.size, named: this.manifest.anchors.length, size: Number([...heads.anchored.values()].reduce((least, { size }) => (least === 0n || size < least ? size : least), 0n)) } },
    ];
    if (results?.status === "final") {
      const ranked = this.manifest.contests.some(({ method }) => method === "ranked");
      list.push({ id: "outcome", state: heads.head?.type !== "final-head" ? "waiting" : ranked ? "unchecked" : "verified", ...(ranked ? { note: "ranked" } : {}), values: {} });
    }
    if (results?.status === "cancelled") list.push({ id: "outcome", state: after(this.headView(heads.head)?.cancelled === true), note: "cancelled", values: {} });
    return list;
  }

  private witnessCheck(): Check {
    const { keys, quorum } = this.manifest.witnesses;
    const { witnessed } = this.heads;
    if (keys.length === 0) return { id: "witnesses", state: "unchecked", note: "none", values: {} };
    const state = witnessed === undefined ? "waiting" : witnessed.count >= quorum ? "verified" : "unchecked";
    return { id: "witnesses", state, values: { count: witnessed?.count ?? 0, named: keys.length, quorum, size: Number(witnessed?.size ?? 0n), time: Number(witnessed?.time ?? 0n) * 1000 } };
  }
}

function view({ status, votes, abstentions, contests }: Results): ResultsView {
  return { status, votes, abstentions, contests };
}
