import { type Choices, isAbstention } from "./ballot.js";
import type { Sums } from "./entry.js";
import type { Ranking } from "./count.js";
import type { Manifest } from "./manifest.js";

/** Sums that grow vote by vote. */
export class Recount {
  private votes = 0n;
  private abstentions = 0n;
  private readonly contests: { blanks: bigint; counts: bigint[] }[];
  private readonly manifest: Manifest;

  /** `before`: the sums to begin with, for a stretch of a log. */
  constructor(manifest: Manifest, before?: Sums) {
    this.manifest = manifest;
    this.votes = before?.votes ?? 0n;
    this.abstentions = before?.abstentions ?? 0n;
    this.contests = manifest.contests.map(({ options }, i) => ({
      blanks: before?.contests[i]?.blanks ?? 0n,
      counts: options.map((_, option) => before?.contests[i]?.counts[option] ?? 0n),
    }));
  }

  add(choices: Choices): void {
    this.votes += 1n;
    if (isAbstention(choices)) this.abstentions += 1n;
    this.contests.forEach((contest, i) => {
      const chosen = choices[i] ?? [];
      if (chosen.length === 0) contest.blanks += 1n;
      // A ranked contest counts first preferences.
      for (const option of this.manifest.contests[i]?.method === "ranked" ? chosen.slice(0, 1) : chosen) {
        contest.counts[option] = (contest.counts[option] ?? 0n) + 1n;
      }
    });
  }

  sums(): Sums {
    const contests = this.contests.map(({ blanks, counts }) => ({ blanks, counts: [...counts] }));
    return { votes: this.votes, abstentions: this.abstentions, contests };
  }
}

/** The numbers of some sums, in the order in which a tally entry has them. */
function numbers(sums: Sums): bigint[] {
  return [sums.votes, sums.abstentions, ...sums.contests.flatMap(({ blanks, counts }) => [blanks, ...counts])];
}

export function sameSums(a: Sums, b: Sums): boolean {
  return numbers(a).join() === numbers(b).join();
}

/** The sums of several cells together. */
export function addSums(manifest: Manifest, parts: readonly Sums[]): Sums {
  const total = (of: (part: Sums) => bigint | undefined): bigint => parts.reduce((sum, part) => sum + (of(part) ?? 0n), 0n);
  const contests = manifest.contests.map(({ options }, i) => ({
    blanks: total((part) => part.contests[i]?.blanks),
    counts: options.map((_, option) => total((part) => part.contests[i]?.counts[option])),
  }));
  return { votes: total((part) => part.votes), abstentions: total((part) => part.abstentions), contests };
}

/** The rankings of one contest over many ballots, equal ones together. */
export function rankingsOf(ballots: Iterable<Choices>, contest: number): Ranking[] {
  const found = new Map<string, { options: readonly number[]; ballots: number }>();
  for (const choices of ballots) {
    const options = choices[contest] ?? [];
    const same = found.get(options.join());
    if (same === undefined) found.set(options.join(), { options, ballots: 1 });
    else same.ballots += 1;
  }
  return [...found.values()];
}
