import type { Count, Issuance } from "./entry.js";
import { fail } from "./error.js";
import { LogGrammar } from "./grammar.js";
import type { Placed } from "./grammar.js";
import type { Manifest } from "./manifest.js";

/** An issuance log: `genesis (issuance | count)* close?`. */
export class IssuanceLog extends LogGrammar {
  private readonly shard: number;
  private readonly shards: number;
  private readonly voters = new Set<bigint>();
  private refused: readonly bigint[] = [0n, 0n, 0n, 0n];

  constructor(manifest: Manifest, registrar: number, shard: number) {
    super(manifest, { kind: "issuance", registrar, shard });
    this.shard = shard;
    this.shards = manifest.registrars[registrar]?.shards.length ?? 0;
  }

  /** How many credentials were issued. */
  get issued(): bigint {
    return BigInt(this.voters.size);
  }

  protected async read(entries: readonly Placed[]): Promise<void> {
    for (const { index, entry } of entries) {
      if (entry.type === "issuance") this.issue(entry, index);
      else if (entry.type === "count") this.counted(entry, index);
      else if (entry.type === "close" && entries.length === 1) {
        this.checkRoundedTime(entry.time, index);
        if (entry.count !== this.issued) fail("wrong-count", "not the number of issuances", index);
        this.end();
      } else fail("order", "not an issuance or a count, nor a close alone", index);
    }
  }

  private issue({ rollIndex }: Issuance, index: bigint): void {
    const size = BigInt(this.manifest.roll.size);
    if (rollIndex >= size) fail("off-roll", "a roll index that the roll does not have", index);
    if ((rollIndex * BigInt(this.shards)) / size !== BigInt(this.shard)) fail("wrong-shard", "a roll index of another shard", index);
    if (this.voters.has(rollIndex)) fail("duplicate-issuance", "a second credential for one voter", index);
    this.voters.add(rollIndex);
  }

  private counted({ time, issued, refused }: Count, index: bigint): void {
    this.checkRoundedTime(time, index);
    if (issued !== this.issued) fail("wrong-count", "not the number of issuances", index);
    if (refused.some((count, i) => count < (this.refused[i] ?? 0n))) fail("count-falls", "a number of refusals that falls", index);
    this.refused = refused;
  }
}
