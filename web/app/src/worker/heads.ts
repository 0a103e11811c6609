import {
  type Head, HEADS, type Manifest, type Notice, VerifierError, equal, fromUtf8, genesisOf, headLogs, keysOf, openCheckpoint, openCosigned, originOf, parseAnchor, parseEntry,
  provenEntries, stretchFiles, utf8, verifyNotice,
} from "../../../verifier/src/index.js";
import type { CheckState } from "../messages.js";
import { Fork, type Signed, prove } from "./grow.js";
import type { History, Shown } from "./history.js";
import { Refuted, refutedAs } from "./judge.js";
import { Standing, worst } from "./standing.js";
import { type Source, Unreachable } from "./source.js";

const NOTE_MAX = 65_536;
/** Bundles of the heads log read at a time, and the bytes that all of them may cost. */
const BUNDLES_A_ROUND = 8n;
const BYTES_IN_ALL = 4_000_000;
/** No anchor ever holds so many objects: a server that says so says yes to everything. */
const ANCHORED_MAX = 2 ** 40;
/** How many checkpoints back cosignatures are looked for: they follow a moment after. */
const CANDIDATES = 6;
/** An entry of the heads log is a head, of this size and this much more a log, or a notice, which is shorter than this. */
const [HEAD_BYTES, HEAD_LOG_BYTES, NOTICE_MAX] = [64, 41, 512];
/** While heads go on, witnesses and anchors may be so far behind; the page looks for them now and then only. */
const REACH_LAG_MS = 180_000;
const REACH_LAG_ENTRIES = 16;
/** Counts are published before the head that names them, but not so long. */
const HEAD_LAG_MS = 120_000;

export interface Witnessed { readonly size: bigint; readonly count: number; readonly time: bigint }

/** The heads log: what all logs are, by one more key, and the authority's notices. */
export class HeadsReader {
  newest: Shown | undefined;
  /** The newest head, at its place. */
  head: Head | undefined;
  /** Notices in the entries that were read: from `readFrom` on. */
  readonly notices: Notice[] = [];
  readFrom: bigint | undefined;
  witnessed: Witnessed | undefined;
  /** How far each anchor reaches. */
  readonly anchored = new Map<string, { number: number; size: bigint }>();
  /** That the log is no older than it was seen to be before. */
  readonly continued = new Standing();
  /** That heads come as counts do. */
  private readonly fresh = new Standing();
  /** The newest tree of the last visit, until it is proven to be a beginning of this log (or the other way round). */
  private kept: Shown | undefined;
  private forked = false;
  private readEnd = 0n;
  private spent = 0;
  private candidates: Shown[] = [];
  private readonly source: Source;
  private readonly manifest: Manifest;
  private readonly text: string;
  private readonly now: () => number;

  constructor(source: Source, manifest: Manifest, text: string, now: () => number) {
    [this.source, this.manifest, this.text, this.now] = [source, manifest, text, now];
  }

  /** What the last visit has kept. */
  async recall(note: string): Promise<void> {
    this.kept = await this.open(note).catch(() => undefined);
  }

  /** What the next visit is to hold against the log: the old one, as long as it could not be compared. */
  remember(): string | null {
    return (this.kept ?? this.newest)?.note ?? null;
  }

  get final(): boolean {
    return this.head?.type === "final-head";
  }

  get cancelled(): boolean {
    return this.notices.some(({ body }) => body.kind === "cancel");
  }

  /** The size above which a notice has the log's spare key sign. */
  switchedAt(log: number | "heads"): bigint | undefined {
    const body = this.notices.find(({ body }) => body.kind === "switch" && (body.log.kind === "cell" ? body.log.cell : body.log.kind) === log)?.body;
    return body?.kind === "switch" ? body.size : undefined;
  }

  /** Whether this log is one with that of the last visit, and not older than the counts. */
  continues(now: number, cells: readonly History[]): CheckState {
    const newest = cells.reduce((latest, { tally }) => Math.max(latest, tally?.time ?? 0), 0);
    if (newest > Number(this.head?.time ?? 0n) + HEAD_LAG_MS + 3 * this.manifest.headIntervalMs) this.fresh.miss(now);
    else this.fresh.hold();
    return worst([this.kept === undefined ? "verified" : "waiting", this.fresh.state(now)]);
  }

  /** The size that witnesses and anchors must have reached: all of it at the end, and nearly all of it before. */
  private get due(): bigint {
    const size = this.newest?.size ?? 0n;
    const lag = BigInt(REACH_LAG_ENTRIES + Math.ceil(REACH_LAG_MS / this.manifest.headIntervalMs));
    return this.final ? size : maximum(1n, size - lag);
  }

  get anchorsReach(): boolean {
    return this.manifest.anchors.every((name) => (this.anchored.get(name)?.size ?? 0n) >= this.due);
  }

  get witnessesReach(): boolean {
    return (this.witnessed?.size ?? 0n) >= this.due;
  }

  async open(note: string): Promise<Shown> {
    const { size, root, key } = await openCheckpoint(utf8(note), originOf(this.manifest, HEADS), keysOf(this.manifest, HEADS));
    return { size, root, key, note };
  }

  prove(one: Signed, other: Signed): Promise<void> {
    return refutedAs("files", () => prove(this.source, this.manifest, this.text, "heads", one, other));
  }

  /** Reads what is new, and holds it against what was kept. */
  async advance(): Promise<void> {
    await this.readNew();
    await this.compareKept();
  }

  /** A checkpoint that is older than a known one is a copy that lags. */
  private async readNew(): Promise<void> {
    const note = noteOf(await this.source.need("heads/checkpoint", NOTE_MAX, "no-store"));
    const found = await refutedAs("heads-proof", () => this.open(note));
    const known = this.newest;
    if (found.size < maximum(known?.size ?? 0n, this.kept?.size ?? 0n)) this.continued.miss(this.now());
    else this.continued.hold();
    if (known !== undefined) {
      await this.prove(known, found);
      if (found.size <= known.size) return this.backfill();
    }
    if (found.size === 0n) return;
    // Nothing of it is kept before its newest entries could be read: tried again, else, with the next look.
    const from = known === undefined ? found.size - 1n - ((found.size - 1n) % 256n) : this.readEnd;
    await this.read(found, maximum(from, found.size - 256n * BUNDLES_A_ROUND), found.size);
    if (this.readFrom === undefined || from < found.size - 256n * BUNDLES_A_ROUND) this.readFrom = maximum(from, found.size - 256n * BUNDLES_A_ROUND);
    this.readEnd = found.size;
    this.newest = found;
    this.candidates = [found, ...this.candidates].slice(0, CANDIDATES);
    await this.backfill();
  }

  /** Holds the log against what the last visit has kept, until that could be done. */
  private async compareKept(): Promise<void> {
    const { kept, newest } = this;
    if (kept === undefined || newest === undefined || this.forked) return;
    try {
      await this.prove(kept, newest);
    } catch (error) {
      // What was found stays; so does what was kept.
      this.forked = error instanceof Fork;
      throw error;
    }
    if (newest.size >= kept.size) this.kept = undefined;
  }

  /** Whether every notice is known. */
  get complete(): boolean {
    return this.readFrom === 0n;
  }

  /** Earlier entries, for their notices, within the budget. */
  private async backfill(): Promise<void> {
    const { readFrom: end, newest } = this;
    if (end === undefined || newest === undefined || end === 0n || this.spent > BYTES_IN_ALL) return;
    const start = maximum(0n, end - 256n * BUNDLES_A_ROUND);
    await this.read(newest, start, end);
    this.readFrom = start;
  }

  private async read(under: Shown, start: bigint, end: bigint): Promise<void> {
    if (start >= end) return;
    const before = this.source.bytes;
    const names = stretchFiles(under.size, start, end);
    const entries = await refutedAs("files", async () => {
      const max = 256 * (2 + Math.max(NOTICE_MAX, HEAD_BYTES + HEAD_LOG_BYTES * headLogs(this.manifest).length));
      const files = await this.source.tiles("heads", names, "default", max);
      return provenEntries(under, files, start, end).catch(async (error: unknown) => {
        if (!(error instanceof VerifierError)) throw error;
        return provenEntries(under, await this.source.tiles("heads", names, "reload", max), start, end);
      });
    });
    this.spent += this.source.bytes - before;
    let last: Head | undefined;
    let index = start;
    for (const bytes of entries) {
      if (index === 0n) {
        if (!equal(bytes, genesisOf(this.manifest, HEADS))) throw new Refuted("heads-proof", "the heads log begins otherwise than the rules say");
      } else {
        const entry = await refutedAs("heads-proof", () => parseEntry(bytes, this.manifest));
        if (entry.type === "notice") await this.notice(entry);
        else if (entry.type === "head" || entry.type === "final-head") last = checkOrder(start === this.readEnd && last === undefined ? this.head : last, entry);
        else throw new Refuted("heads-proof", `entry ${index} of the heads log is a ${entry.type}`);
      }
      index += 1n;
    }
    if (end === under.size && last !== undefined) this.head = last;
  }

  private async notice(notice: Notice): Promise<void> {
    if (!(await verifyNotice(notice, this.manifest))) throw new Refuted("notice", `notice ${notice.sequence} is not signed by the authority`);
    if (!this.notices.some(({ sequence }) => sequence === notice.sequence)) this.notices.push(notice);
  }

  /** Looks for cosignatures of checkpoints that were seen. */
  async lookForWitnesses(): Promise<void> {
    if (this.manifest.witnesses.keys.length === 0) return;
    for (const candidate of this.candidates) {
      if (this.witnessed !== undefined && candidate.size <= this.witnessed.size) return;
      const bytes = await this.source.read(`heads/cosigned/${candidate.size}`, NOTE_MAX);
      if (bytes === undefined) continue;
      const cosigned = await openCosigned(bytes, originOf(this.manifest, HEADS), keysOf(this.manifest, HEADS), this.manifest.witnesses.keys);
      if (cosigned.size !== candidate.size) continue;
      await this.prove(candidate, { size: cosigned.size, root: cosigned.root, note: fromUtf8(bytes) });
      const times = cosigned.cosignatures.map(({ time }) => time).sort((a, b) => (a < b ? -1 : 1));
      this.witnessed = { size: cosigned.size, count: times.length, time: times[Math.max(this.manifest.witnesses.quorum, 1) - 1] ?? times.at(-1) ?? 0n };
      return;
    }
  }

  /** Reads each anchor's newest object, as the election's folder shows it, and holds its checkpoint against the heads log. */
  async lookAtAnchors(): Promise<void> {
    const { newest } = this;
    if (newest === undefined) return;
    for (const name of this.manifest.anchors) {
      const known = this.anchored.get(name)?.number ?? -1;
      const number = await this.lastObject(name, known);
      if (number < 0 || number === known) continue;
      const object = parseAnchor(await this.source.need(`anchors/${name}/${number}`, 1 << 24), this.manifest);
      const anchored = await this.open(fromUtf8(object.note));
      await this.prove(anchored, newest).catch((error: unknown) => {
        throw error instanceof Fork ? new Refuted("anchor", `${error.message}, says the anchor ${name}`) : error;
      });
      this.anchored.set(name, { number, size: anchored.size });
    }
  }

  /** The last number that is there, in a sequence without gaps, which is known to reach `known`. */
  private async lastObject(name: string, known: number): Promise<number> {
    const there = (number: number): Promise<boolean> => this.source.exists(`anchors/${name}/${number}`);
    let [low, step] = [known, 1];
    while (await there(low + step)) {
      low += step;
      step *= 2;
      if (low > ANCHORED_MAX) throw new Unreachable("the server says yes to everything");
    }
    let high = low + step;
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (await there(middle)) low = middle;
      else high = middle;
    }
    return low;
  }
}

function maximum(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

/** A text that is no signed note at all is somebody's error page. */
function noteOf(bytes: Uint8Array): string {
  const text = new TextDecoder().decode(bytes);
  if (!text.includes("\n\n\u2014 ")) throw new Unreachable("no signed note");
  return text;
}

/** Heads never go back. */
function checkOrder(before: Head | undefined, head: Head): Head {
  if (before === undefined) return head;
  if (before.type === "final-head") throw new Refuted("head-falls", "something stands behind the final head");
  if (head.time < before.time) throw new Refuted("head-falls", "a head's time is before the one in front of it");
  before.logs.forEach((log, i) => {
    const now = head.logs[i];
    if (log.size === now?.size && !equal(log.root, now.root)) throw new Refuted("heads-differ", `two heads name two trees of ${log.size} entries for one log`);
    if (log.size > (now?.size ?? 0n)) throw new Refuted("head-falls", `a head shows ${head.logs[i]?.size} entries where one before showed ${log.size}`);
  });
  return head;
}
