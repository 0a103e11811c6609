import { type Bytes, Reader, concat, equal, uint, utf8 } from "./bytes.js";
import { EMPTY_ROOT } from "./checkpoint.js";
import { fail } from "./error.js";
import { type LogId, encodeLogId, logOf } from "./logs.js";
import { type Manifest, MAX_BATCH_ENTRIES, MAX_BATCH_FILE } from "./manifest.js";
import { MAX_NOTE } from "./note.js";

/** A batch file (section 9). */
export interface Batch {
  readonly log: LogId;
  readonly number: bigint;
  readonly oldSize: bigint;
  readonly oldRoot: Bytes;
  readonly newSize: bigint;
  readonly newRoot: Bytes;
  readonly entries: readonly Bytes[];
}

function readEntries(reader: Reader, count: bigint, code: string): Bytes[] {
  // Each entry takes three bytes at least, so that no count makes us wait for what cannot be there.
  if (count < 1n || count * 3n > BigInt(reader.left)) fail(code, "no entries, or more than the file holds");
  return Array.from({ length: Number(count) }, () => {
    const length = reader.u16();
    return length === 0 ? fail(code, "an empty entry") : reader.take(length);
  });
}

/** Reads a batch file. Its entries are not judged. */
export function parseBatch(bytes: Bytes, manifest: Manifest): Batch {
  if (bytes.length > MAX_BATCH_FILE) fail("batch", "more than 16 MiB");
  const reader = new Reader(bytes, "batch");
  reader.expect(concat(utf8("tallyroot/v1/batch"), Uint8Array.of(0), manifest.election), "format or election");
  const log = logOf(manifest, reader.u8(), reader.u32(), reader.u32(), "batch");
  const head = {
    number: reader.u64(), oldSize: reader.u64(), oldRoot: reader.take(32), newSize: reader.u64(), newRoot: reader.take(32),
  };
  const count = head.newSize - head.oldSize;
  if (count > BigInt(MAX_BATCH_ENTRIES)) fail("batch", "more than 32,768 entries");
  if (head.number > head.oldSize) fail("batch", "a number above the old size");
  if (head.number === 0n && (head.oldSize !== 0n || count !== 1n)) fail("batch", "batch 0 holds more than the first entry");
  if ((head.oldSize === 0n) !== (head.number === 0n)) fail("batch", "an old size of 0 is that of batch 0 alone");
  if (head.oldSize === 0n && !equal(head.oldRoot, EMPTY_ROOT)) fail("batch", "an empty log with another root");
  const entries = readEntries(reader, count, "batch");
  reader.end();
  return { log, ...head, entries };
}

/** The bytes of a batch file. */
export function encodeBatch(batch: Batch, manifest: Manifest): Bytes {
  return concat(
    utf8("tallyroot/v1/batch"), Uint8Array.of(0), manifest.election, encodeLogId(batch.log), uint(batch.number, 8),
    uint(batch.oldSize, 8), batch.oldRoot, uint(batch.newSize, 8), batch.newRoot,
    ...batch.entries.flatMap((entry) => [uint(BigInt(entry.length), 2), entry]),
  );
}

/** An anchor object (section 10). `note` is that of the heads log at the new size. */
export interface Anchor {
  readonly number: bigint;
  readonly oldSize: bigint;
  readonly newSize: bigint;
  readonly entries: readonly Bytes[];
  readonly note: Bytes;
}

const MAX_ANCHOR = 1 << 24;

/** Reads an anchor object. Its entries and its note are not judged. */
export function parseAnchor(bytes: Bytes, manifest: Manifest): Anchor {
  if (bytes.length > MAX_ANCHOR) fail("anchor", "more than 16 MiB");
  const reader = new Reader(bytes, "anchor");
  reader.expect(concat(utf8("tallyroot/v1/anchor"), Uint8Array.of(0), manifest.election), "format or election");
  const [number, oldSize, newSize] = [reader.u64(), reader.u64(), reader.u64()];
  if ((number === 0n) !== (oldSize === 0n) || number > oldSize) fail("anchor", "an old size that no object of this number has");
  const entries = readEntries(reader, newSize - oldSize, "anchor");
  const length = reader.u32();
  if (length < 1 || length > MAX_NOTE) fail("anchor", "no note, or one of more than 64 KiB");
  const note = reader.take(length);
  reader.end();
  return { number, oldSize, newSize, entries, note };
}
