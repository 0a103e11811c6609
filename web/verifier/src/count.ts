import type { TieRule } from "./manifest.js";

export interface Winner { readonly winner: number | undefined; readonly tieBroken: boolean }

/** A round of a run-off. A count is undefined for an option that no longer continues. */
export interface Round {
  readonly counts: readonly (number | undefined)[];
  readonly eliminated: number | undefined;
  readonly exhausted: number;
  readonly tieBroken: boolean;
}

export interface RunOff extends Winner { readonly rounds: readonly Round[] }

/** The winner of a plurality or approval contest. */
export function highest(counts: readonly number[]): Winner {
  const most = Math.max(0, ...counts);
  if (most === 0) return { winner: undefined, tieBroken: false };
  return { winner: counts.indexOf(most), tieBroken: counts.filter((count) => count === most).length > 1 };
}

/** Some ballots that rank the same options, most preferred first. */
export interface Ranking { readonly options: readonly number[]; readonly ballots: number }

/** An instant run-off (section 11). */
export function runOff(options: number, rankings: readonly Ranking[], rule: TieRule): RunOff {
  const continuing = new Set(Array.from({ length: options }, (_, option) => option));
  /** For each option, the rankings that count for it, each with the place at which it does. */
  const piles: { readonly ranking: Ranking; readonly at: number }[][] = Array.from({ length: options }, () => []);
  const rounds: Round[] = [];
  let exhausted = 0;

  const assign = (ranking: Ranking, from: number): void => {
    const at = ranking.options.findIndex((option, place) => place >= from && continuing.has(option));
    const pile = piles[ranking.options[at] ?? -1];
    if (pile !== undefined) pile.push({ ranking, at });
    // A blank ballot takes no part, so it is not exhausted either.
    else if (ranking.options.length > 0) exhausted += ranking.ballots;
  };
  for (const ranking of rankings) assign(ranking, 0);

  for (;;) {
    const counts = piles.map((pile, option) => (continuing.has(option) ? pile.reduce((sum, { ranking }) => sum + ranking.ballots, 0) : undefined));
    const alive = [...continuing].map((option) => ({ option, count: counts[option] ?? 0 }));
    const total = alive.reduce((sum, { count }) => sum + count, 0);
    const leader = alive.find(({ count }) => count * 2 > total || alive.length === 1);
    if (total === 0 || leader !== undefined) {
      rounds.push({ counts, eliminated: undefined, exhausted, tieBroken: false });
      return { winner: total === 0 ? undefined : leader?.option, tieBroken: rounds.some(({ tieBroken }) => tieBroken), rounds };
    }
    const { option, tied } = loser(alive, rounds, rule);
    rounds.push({ counts, eliminated: option, exhausted, tieBroken: tied });
    continuing.delete(option);
    for (const { ranking, at } of piles[option]?.splice(0) ?? []) assign(ranking, at + 1);
  }
}

function loser(alive: readonly { option: number; count: number }[], before: readonly Round[], rule: TieRule): { option: number; tied: boolean } {
  const least = Math.min(...alive.map(({ count }) => count));
  let lowest = alive.filter(({ count }) => count === least).map(({ option }) => option);
  const tied = lowest.length > 1;
  if (rule === "prior-rounds") {
    for (const { counts } of [...before].reverse()) {
      const fewest = Math.min(...lowest.map((option) => counts[option] ?? 0));
      lowest = lowest.filter((option) => counts[option] === fewest);
    }
  }
  return { option: Math.max(...lowest), tied };
}
