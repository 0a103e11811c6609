import { type KeyName, type LogId, type Manifest, type TreeHead, equal, keysOf, openCheckpoint, originOf, prefixOf, utf8 } from "../../../verifier/src/index.js";
import type { Point } from "../messages.js";
import { Fork, type Signed, prove } from "./grow.js";
import { random } from "./recount.js";
import { Standing } from "./standing.js";
import type { Source } from "./source.js";

const OTHERS_MAX = 8;

export interface Shown extends Signed { readonly note: string; readonly key: KeyName }

/** What was seen of one cell's ledger: which of its trees are proven to be one history, and which are not yet. */
export class History {
  newest: Shown | undefined;
  tally: { readonly votes: number; readonly time: number } | undefined;
  points: Point[] = [];
  /** The newest tree that is proven to continue all that were seen before it, in earlier visits too: what is remembered. */
  grown: Signed | undefined;
  /** That the newest tree continues all others. */
  readonly growth = new Standing();
  /** That the newest head's tree is of the same history. */
  readonly named = new Standing();
  private compared: Signed | undefined;
  /** Signed trees that were shown, and not compared yet. */
  private readonly others: Signed[] = [];
  /** One, at random, of the trees that were the newest since the last comparison: a fast stream shows more than can be compared, and nobody knows which of them will be. */
  private replaced: Signed | undefined;
  private replacements = 0;
  private forked = false;
  readonly log: LogId;
  private readonly source: Source;
  private readonly manifest: Manifest;
  private readonly text: string;

  constructor(log: LogId, source: Source, manifest: Manifest, text: string) {
    [this.log, this.source, this.manifest, this.text] = [log, source, manifest, text];
  }

  async open(note: string): Promise<Shown> {
    const { size, root, key } = await openCheckpoint(utf8(note), originOf(this.manifest, this.log), keysOf(this.manifest, this.log));
    return { size, root, key, note };
  }

  /** The newest tree, by what the results show. */
  show(tree: Shown, now: number): void {
    const before = this.newest;
    if (before !== undefined && !same(before, tree) && (this.grown === undefined || !same(this.grown, before)) && random(++this.replacements) === 0) this.replaced = before;
    this.newest = tree;
    if (this.grown === undefined || !same(this.grown, tree)) this.growth.miss(now);
  }

  /** A signed tree that is smaller than the newest: it must be its beginning. */
  showOlder(tree: Signed): void {
    if (this.others.length < OTHERS_MAX && !this.others.some((other) => same(other, tree))) this.others.push(tree);
  }

  /** What the newest head names. */
  name(tree: TreeHead, now: number): void {
    if (tree.size > 2n && (this.compared === undefined || !same(this.compared, tree))) this.named.miss(now);
  }

  isDue(head: TreeHead | undefined): boolean {
    if (this.newest === undefined) return false;
    const grows = !this.forked && (this.others.length > 0 || this.replaced !== undefined || this.grown === undefined || !same(this.grown, this.newest));
    return grows || (head !== undefined && (this.compared === undefined || !same(this.compared, head)));
  }

  /** Proves that two trees are of one history. */
  against(one: Signed, other: Signed): Promise<void> {
    return prove(this.source, this.manifest, this.text, prefixOf(this.log), one, other);
  }

  /** Proves that the newest tree continues those seen before, each by itself: what the server withholds of one hides no contradiction to another. Gives what was thrown. */
  async grow(now: () => number): Promise<unknown[]> {
    const { newest, replaced, grown } = this;
    if (newest === undefined || this.forked) return [];
    const begun = now();
    const thrown: unknown[] = [];
    // Those of the same size first: they need no file.
    const all = [...this.others, replaced, grown].filter((other) => other !== undefined).sort((a, b) => Number(b.size === newest.size) - Number(a.size === newest.size));
    for (const other of all) {
      try {
        await this.against(other, newest);
        const at = this.others.indexOf(other);
        if (at >= 0) this.others.splice(at, 1);
      } catch (error) {
        thrown.push(error);
        // The contradiction is found, and kept: it need not be proven again every round. What was remembered stays so.
        if (error instanceof Fork) this.forked = true;
      }
    }
    if (thrown.length > 0) return thrown;
    if (this.replaced === replaced) [this.replaced, this.replacements] = [undefined, 0];
    if (this.grown === undefined || newest.size > this.grown.size) this.grown = newest;
    this.growth.hold();
    if (this.newest !== newest) this.growth.miss(begun);
    return [];
  }

  /** Proves that the tree that a head names is of the newest tree's history. */
  async compare(head: Signed): Promise<void> {
    if (this.newest === undefined || (this.compared !== undefined && same(this.compared, head))) return;
    await this.against(head, this.newest);
    this.compared = head;
    this.named.hold();
  }
}

export function same(one: TreeHead, other: TreeHead): boolean {
  return one.size === other.size && equal(one.root, other.root);
}
