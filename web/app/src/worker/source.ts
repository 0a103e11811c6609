import { type Bytes, parseBundle, parseTilePath, tilePath } from "../../../verifier/src/index.js";

/** The server did not answer, or not in time: nobody is to blame for anything. */
export class Unreachable extends Error {}

/** A file that is longer than it may be, or than was to be spent. */
export class TooLong extends Unreachable {}

const PATIENCE_MS = 20_000;
/** A tile has 8 KiB; a bundle's entries have at most 64 KiB each, where nobody knows better. */
const TILE_MAX = 8_192;
const BUNDLE_MAX = 256 * 65_537;

/** The published files of one election, with every answer bounded. */
export class Source {
  /** How many bytes were read. */
  bytes = 0;
  readonly base: string;

  constructor(base: string) {
    this.base = base;
  }

  /** A file; undefined where there is none. `reload`: asks the server again, whatever is cached. `beside`: over the connections that the page itself came by, as the page was asked for. */
  async read(path: string, max: number, cache: "default" | "no-store" | "reload" = "default", how: "apart" | "beside" = "apart"): Promise<Bytes | undefined> {
    try {
      const credentials = how === "beside" ? "same-origin" : "omit";
      const response = await fetch(this.base + path, { cache, redirect: "error", credentials, referrerPolicy: "no-referrer", signal: AbortSignal.timeout(PATIENCE_MS) });
      if (response.status === 404) return undefined;
      if (!response.ok || response.body === null) throw new Unreachable(`${path}: ${response.status}`);
      // A sign-in page of some network in between, or a proxy's apology.
      if (response.headers.get("content-type")?.startsWith("text/html") === true) throw new Unreachable(`${path} is a page, not a file`);
      const parts: Uint8Array[] = [];
      let length = 0;
      const reader = response.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        length += value.length;
        if (length > max) {
          await reader.cancel();
          throw new TooLong(`${path} is longer than it may be`);
        }
        parts.push(value);
      }
      this.bytes += length;
      const out = new Uint8Array(length);
      let at = 0;
      for (const part of parts) {
        out.set(part, at);
        at += part.length;
      }
      return out;
    } catch (error) {
      throw error instanceof Unreachable ? error : new Unreachable(`${path}: ${String(error)}`);
    }
  }

  async exists(path: string): Promise<boolean> {
    const response = await fetch(this.base + path, { method: "HEAD", cache: "no-store", redirect: "error", credentials: "omit", signal: AbortSignal.timeout(PATIENCE_MS) }).catch((error: unknown) => {
      throw new Unreachable(`${path}: ${String(error)}`);
    });
    if (response.ok) return true;
    if (response.status === 404) return false;
    throw new Unreachable(`${path}: ${response.status}`);
  }

  async need(path: string, max: number, cache: "default" | "no-store" | "reload" = "default"): Promise<Bytes> {
    const bytes = await this.read(path, max, cache);
    if (bytes === undefined) throw new Unreachable(`${path} is not there`);
    return bytes;
  }

  /** A tile or bundle of a log: where a partial one is gone because the log has grown, it is cut from the full one. */
  async tile(prefix: string, name: string, cache: "default" | "reload" = "default", bundleMax = BUNDLE_MAX): Promise<Bytes> {
    const tile = parseTilePath(name);
    const max = tile.level === "entries" ? bundleMax : TILE_MAX;
    const found = await this.read(`${prefix}/${name}`, max, cache);
    if (found !== undefined) return found;
    if (tile.width === 256) throw new Unreachable(`${prefix}/${name} is not there`);
    const full = await this.need(`${prefix}/${tilePath({ ...tile, width: 256 })}`, max, cache);
    return tile.level === "entries" ? cutBundle(full, tile.width) : full.slice(0, 32 * tile.width);
  }

  async tiles(prefix: string, names: readonly string[], cache: "default" | "reload" = "default", bundleMax = BUNDLE_MAX): Promise<Map<string, Bytes>> {
    return new Map(await Promise.all(names.map(async (name) => [name, await this.tile(prefix, name, cache, bundleMax)] as const)));
  }
}

/** The bytes of the first entries of a full bundle. */
function cutBundle(bytes: Bytes, width: number): Bytes {
  const entries = parseBundle(bytes, 256).slice(0, width);
  return bytes.slice(0, entries.reduce((length, entry) => length + 2 + entry.length, 0));
}
