import { type Bytes, equal } from "./bytes.js";
import { type Entry, genesisOf, parseEntry } from "./entry.js";
import { VerifierError, fail } from "./error.js";
import type { LogId } from "./logs.js";
import type { Manifest } from "./manifest.js";

/** An entry with its bytes and its place. */
export interface Placed { readonly index: bigint; readonly bytes: Bytes; readonly entry: Entry }

/** Where the reading of a log begins: at a batch end. */
export interface Start { readonly size: bigint; readonly batches: bigint; readonly time: bigint }

const BEGINNING: Start = { size: 0n, batches: 0n, time: 0n };

/**
 * A log that is read batch by batch (section 8). A refusal's code is the rule that is broken, its index the entry's;
 * what stands behind a broken batch cannot be judged.
 */
export abstract class LogGrammar {
  protected readonly manifest: Manifest;
  protected readonly log: LogId;
  private count: bigint;
  private batches: bigint;
  private finished = false;
  private newest: bigint;

  constructor(manifest: Manifest, log: LogId, from: Start = BEGINNING) {
    this.manifest = manifest;
    this.log = log;
    this.count = from.size;
    this.batches = from.batches;
    this.newest = from.time;
  }

  /** How many entries were read. */
  get size(): bigint {
    return this.count;
  }

  /** Whether a close or a final head has ended the log. */
  get ended(): boolean {
    return this.finished;
  }

  /** Reads the next batch. */
  async batch(entries: readonly Bytes[]): Promise<void> {
    const start = this.count;
    if (this.batches === 0n) {
      const [genesis] = entries;
      if (genesis === undefined || entries.length !== 1 || !equal(genesis, genesisOf(this.manifest, this.log))) {
        fail("genesis", "the first batch is not this log's genesis alone", 0n);
      }
    } else {
      if (this.finished) fail("after-end", "the log has ended", start);
      if (entries.length === 0) fail("order", "an empty batch", start);
      await this.read(entries.map((bytes, i) => this.place(bytes, start + BigInt(i))), this.batches);
    }
    this.count += BigInt(entries.length);
    this.batches += 1n;
  }

  private place(bytes: Bytes, index: bigint): Placed {
    try {
      return { index, bytes, entry: parseEntry(bytes, this.manifest) };
    } catch (error) {
      throw error instanceof VerifierError ? new VerifierError("malformed", error.message, index) : error;
    }
  }

  protected abstract read(entries: readonly Placed[], number: bigint): Promise<void>;

  /** The log ends here. */
  protected end(): void {
    this.finished = true;
  }

  /** Times never fall. */
  protected checkTime(time: bigint, index: bigint): void {
    if (time < this.newest) fail("time-falls", "a time below the one before", index);
    this.newest = time;
  }

  /** The same for the times of cells and issuance logs, which are rounded. */
  protected checkRoundedTime(time: bigint, index: bigint): void {
    if (time % BigInt(this.manifest.batchWaitMs) !== 0n) fail("time-grain", "a time that is not rounded", index);
    this.checkTime(time, index);
  }
}
