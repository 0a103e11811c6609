// One log as the server publishes it: its newest tree, and proofs in it and in the trees below.
import {
  type Bytes, type Checkpoint, type LogId, type Manifest, type TreeHead, VerifierError, authenticateTiles, consistencyPath, fromUtf8, inclusionPath, keysOf, openCheckpoint, openCosigned, originOf,
  pathTiles, prefixOf, provenEntries, rootAt, stretchFiles, toBase64,
} from "../../../../verifier/src/index.js";
import { type Source, Unreachable } from "../../worker/source.js";

const NOTE_MAX = 65_536;

/** A signed tree, with the note that shows it. */
export interface Noted extends Checkpoint { readonly note: string }

export class Ledger {
  readonly source: Source;
  readonly manifest: Manifest;
  readonly log: LogId;

  constructor(source: Source, manifest: Manifest, log: LogId) {
    this.source = source;
    this.manifest = manifest;
    this.log = log;
  }

  get prefix(): string {
    return prefixOf(this.log);
  }

  /** The newest tree; undefined before there is one. */
  async newest(): Promise<Noted | undefined> {
    const bytes = await this.source.read(`${this.prefix}/checkpoint`, NOTE_MAX, "no-store");
    return bytes && this.open(bytes);
  }

  /** The tree of a size that a head names. */
  async at(size: bigint): Promise<Noted> {
    const found = await this.open(await this.source.need(`${this.prefix}/checkpoints/${size}`, NOTE_MAX));
    if (found.size !== size) throw new VerifierError("checkpoint", `${this.prefix}/checkpoints/${size} is of size ${found.size}`);
    return found;
  }

  /** The cosigned tree of this size of the heads log, and by how many; undefined where there is none. */
  async cosigned(size: bigint): Promise<{ readonly tree: Noted; readonly count: number } | undefined> {
    const bytes = await this.source.read(`${this.prefix}/cosigned/${size}`, NOTE_MAX, "no-store");
    if (bytes === undefined) return undefined;
    const found = await openCosigned(bytes, originOf(this.manifest, this.log), keysOf(this.manifest, this.log), this.manifest.witnesses.keys);
    if (found.size !== size) throw new VerifierError("checkpoint", `${this.prefix}/cosigned/${size} is of size ${found.size}`);
    return { tree: { ...found, note: fromUtf8(bytes) }, count: found.cosignatures.length };
  }

  async open(bytes: Bytes): Promise<Noted> {
    const note = fromUtf8(bytes);
    // Somebody's error page blames nobody.
    if (!note.includes("\n\n\u2014 ")) throw new Unreachable("no signed note");
    return { ...(await openCheckpoint(bytes, originOf(this.manifest, this.log), keysOf(this.manifest, this.log))), note };
  }

  /** The entries from `start` to `end` - 1, proven. */
  async entries(tree: TreeHead, start: bigint, end: bigint): Promise<Bytes[]> {
    const names = stretchFiles(tree.size, start, end);
    return this.twice(async (cache) => provenEntries(tree, await this.source.tiles(this.prefix, names, cache), start, end));
  }

  /** Proofs for these leaves and smaller trees, in `tree`. */
  async proofs(tree: TreeHead, leaves: readonly bigint[], sizes: readonly bigint[]): Promise<Proofs> {
    const names = pathTiles(tree.size, leaves, sizes);
    return this.twice(async (cache) => new Proofs(await authenticateTiles(tree, await this.source.tiles(this.prefix, names, cache)), tree.size));
  }

  /** The `.tlog-proof` of an entry in a tree, under its note. */
  async proofOf(index: bigint, tree: Noted): Promise<string> {
    const [entry] = await this.entries(tree, index, index + 1n);
    return proofText(entry, index, await (await this.proofs(tree, [index], [])).inclusion(index, tree.size), tree.note);
  }

  /** What was damaged on its way is asked for once more. */
  private async twice<T>(read: (cache: "default" | "reload") => Promise<T>): Promise<T> {
    try {
      return await read("default");
    } catch (error) {
      if (!(error instanceof VerifierError)) throw error;
      return read("reload");
    }
  }
}

export class Proofs {
  private readonly tiles: Awaited<ReturnType<typeof authenticateTiles>>;
  private readonly newest: bigint;

  constructor(tiles: Awaited<ReturnType<typeof authenticateTiles>>, newest: bigint) {
    this.tiles = tiles;
    this.newest = newest;
  }

  inclusion(index: bigint, size: bigint): Promise<Bytes[]> {
    return inclusionPath(this.tiles, index, size, this.newest);
  }

  consistency(older: bigint, newer: bigint): Promise<Bytes[]> {
    return consistencyPath(this.tiles, older, newer, this.newest);
  }

  root(size: bigint): Promise<Bytes> {
    return rootAt(this.tiles, size, this.newest);
  }
}

/** C2SP's `.tlog-proof`. */
export function proofText(extra: Bytes | undefined, index: bigint, hashes: readonly Bytes[], note: string): string {
  const lines = ["c2sp.org/tlog-proof@v1", ...(extra === undefined ? [] : [`extra ${toBase64(extra)}`]), `index ${index}`, ...hashes.map(toBase64)];
  return `${lines.join("\n")}\n\n${note}`;
}
