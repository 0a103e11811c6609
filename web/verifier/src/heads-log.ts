import { type Bytes, equal } from "./bytes.js";
import { type Head, type HeadLog, type Notice, genesisOf } from "./entry.js";
import { fail } from "./error.js";
import { LogGrammar, type Placed } from "./grammar.js";
import { HEADS, type LogId, headLogs, prefixOf } from "./logs.js";
import type { Manifest } from "./manifest.js";
import { CompactRange, leafHash } from "./merkle.js";

/** A finding that leaves the log valid. */
export interface Remark { readonly code: "unclosed" | "issuance-open" | "closed-early"; readonly index: bigint; readonly log: LogId }

interface Known {
  readonly log: LogId;
  /** What the last head says; before the first, the genesis. */
  last: HeadLog;
  /** The roots of sizes that heads and switches have named. */
  readonly roots: Map<bigint, Bytes>;
  closedBefore: boolean;
  frozen: boolean;
  switched: boolean;
}

/** The heads log: `genesis (head | notice)* final-head?`. Notices' signatures are judged apart, with `verifyNotice`. */
export class HeadsLog extends LogGrammar {
  readonly remarks: Remark[] = [];
  private readonly logs: Known[];
  private closingTime: bigint;
  private time: bigint | undefined;
  private sequence = 0;
  private isCancelled = false;
  private headsSwitched = false;
  private readonly range = new CompactRange();

  private constructor(manifest: Manifest, logs: Known[]) {
    super(manifest, HEADS);
    this.logs = logs;
    this.closingTime = BigInt(manifest.times.closing);
  }

  static async of(manifest: Manifest): Promise<HeadsLog> {
    const logs = await Promise.all(
      headLogs(manifest).map(async (log): Promise<Known> => {
        const root = await leafHash(genesisOf(manifest, log));
        return { log, last: { state: "open", size: 1n, root }, roots: new Map([[1n, root]]), closedBefore: false, frozen: false, switched: false };
      }),
    );
    return new HeadsLog(manifest, logs);
  }

  /** The closing time with all extends. */
  get closing(): bigint {
    return this.closingTime;
  }

  get cancelled(): boolean {
    return this.isCancelled;
  }

  override async batch(entries: readonly Bytes[]): Promise<void> {
    const first = this.size === 0n;
    await super.batch(entries);
    if (first) for (const entry of entries) await this.range.append(await leafHash(entry));
  }

  protected async read(entries: readonly Placed[]): Promise<void> {
    for (const { index, bytes, entry } of entries) {
      if (this.ended) fail("after-end", "something behind the final head", index);
      if (entry.type === "notice") await this.notice(entry, index);
      else if (entry.type === "head" || entry.type === "final-head") this.head(entry, index);
      else fail("order", "neither head nor notice", index);
      await this.range.append(await leafHash(bytes));
    }
  }

  private head(head: Head, index: bigint): void {
    this.checkTime(head.time, index);
    this.time = head.time;
    this.logs.forEach((known, i) => {
      const now = head.logs[i];
      if (now !== undefined) this.advance(known, now, head.time, index);
    });
    this.judgeClosed(index);
    if (head.type === "final-head") this.judgeFinal(head, index);
  }

  private advance(known: Known, now: HeadLog, time: bigint, index: bigint): void {
    const { last, roots } = known;
    const same = now.size === last.size && equal(now.root, last.root);
    if (last.state === "closed" && !(same && now.state === "closed")) fail("reopened", "a closed log that is shown as anything else", index);
    if (now.state === "stale" && !same) fail("stale", "a stale log that does not repeat the last head", index);
    if (now.size < last.size) fail("size-falls", "a size below the last head's", index);
    const root = roots.get(now.size);
    if (root !== undefined && !equal(root, now.root)) fail("fork", "another root for a size that was named", index);
    if (now.state === "closed" && now.size < 2n) fail("order", "closed at its genesis", index);
    if (now.state === "closed" && last.state !== "closed" && time <= this.closingTime && !known.frozen && !this.isCancelled) {
      this.remarks.push({ code: "closed-early", index, log: known.log });
    }
    roots.set(now.size, now.root);
    known.last = now;
  }

  /** A cell that closes while a registrar could still issue. */
  private judgeClosed(index: bigint): void {
    const open = this.logs.some(({ log, last }) => log.kind === "issuance" && last.state === "open");
    for (const known of this.logs) {
      const closed = known.last.state === "closed";
      if (closed && !known.closedBefore && known.log.kind === "cell" && open && !known.frozen) {
        this.remarks.push({ code: "issuance-open", index, log: known.log });
      }
      known.closedBefore = closed;
    }
  }

  private judgeFinal(head: Head, index: bigint): void {
    const unclosed = this.logs.filter(({ last }) => last.state !== "closed");
    for (const { log } of unclosed) this.remarks.push({ code: "unclosed", index, log });
    if (unclosed.length > 0 && head.time <= this.closingTime + BigInt(this.manifest.times.grace)) {
      fail("early-final", "a final head while logs are open, within the grace", index);
    }
    this.end();
  }

  private async notice({ sequence, body }: Notice, index: bigint): Promise<void> {
    if (sequence !== this.sequence) fail("notice-sequence", "not the next sequence", index);
    this.sequence += 1;
    const refuse = (message: string): never => fail("notice", message, index);
    switch (body.kind) {
      case "extend":
        if (this.time !== undefined && this.time > this.closingTime) refuse("an extend after closing");
        if (body.closing <= this.closingTime || body.closing > BigInt(this.manifest.retention)) refuse("a closing time that is not later, or beyond retention");
        this.closingTime = body.closing;
        return;
      case "cancel":
        if (this.isCancelled) refuse("cancelled twice");
        this.isCancelled = true;
        return;
      case "freeze": {
        const known = this.known(body.log);
        if (known === undefined || known.frozen) return refuse("a log frozen twice");
        known.frozen = true;
        return;
      }
      case "switch": {
        if (body.log.kind === "heads") {
          const there = body.size === index && equal(body.root, await this.range.root());
          if (this.headsSwitched || !there) refuse("not this log's size and root below the notice, or a second switch");
          this.headsSwitched = true;
          return;
        }
        const known = this.known(body.log);
        if (known === undefined || known.switched) return refuse("a log switched twice");
        const root = known.roots.get(body.size);
        if (body.size < known.last.size || (root !== undefined && !equal(root, body.root))) refuse("a size below the last head's, or another root");
        known.roots.set(body.size, body.root);
        known.switched = true;
      }
    }
  }

  private known(log: LogId): Known | undefined {
    return this.logs.find((known) => prefixOf(known.log) === prefixOf(log));
  }
}
