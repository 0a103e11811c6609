"""Section 11: who wins. Vectors: count.json."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Rankings = Iterable[tuple[tuple[int, ...], int]]  # (option indices, number of ballots)


@dataclass(frozen=True)
class Round:
    counts: list[int | None]
    eliminated: int | None
    exhausted: int
    tie_broken: bool

    def as_dict(self) -> dict[str, object]:
        return {"counts": self.counts, "eliminated": self.eliminated, "exhausted": self.exhausted, "tie_broken": self.tie_broken}


def most(counts: list[int]) -> tuple[int | None, bool]:
    """"the option with the highest count wins; among equals, the first in the manifest's order …, and the result says that a tie was
    broken. No vote at all: no winner." """
    best = max(counts)
    if best == 0:
        return None, False
    return counts.index(best), counts.count(best) > 1


def run_off(options: int, rankings: Rankings, tie_rule: str) -> tuple[list[Round], int | None]:
    """Instant run-off. The ballots are held by the option that they count for and move as options go."""
    continuing = set(range(options))
    held: list[list[tuple[tuple[int, ...], int, int]]] = [[] for _ in range(options)]  # (ranking, number, position)
    # "Blank ballots take no part and are not among the exhausted."
    for ranking, number in rankings:
        if ranking:
            held[ranking[0]].append((ranking, number, 0))
    counts = [sum(number for _, number, _ in ballots) for ballots in held]
    history: list[list[int]] = []
    rounds: list[Round] = []
    exhausted = 0
    while True:
        shown = [counts[i] if i in continuing else None for i in range(options)]
        total = sum(counts)
        # "if nobody has a count above 0, there is no winner"
        if total == 0:
            return rounds + [Round(shown, None, exhausted, False)], None
        # "If an option has more than half of the round's counted ballots, or is the only one continuing, it wins."
        for option in continuing:
            if 2 * counts[option] > total or len(continuing) == 1:
                return rounds + [Round(shown, None, exhausted, False)], option
        # "Otherwise the option with the lowest count is eliminated, one a round."
        low = min(counts[i] for i in continuing)
        lowest = [i for i in sorted(continuing) if counts[i] == low]
        tie = len(lowest) > 1
        # "`prior-rounds` first keeps, among those lowest, the ones with the lowest count in the round before, then the round before
        # that, and so on; what is still equal falls to listed order."
        if tie_rule == "prior-rounds":
            for earlier in reversed(history):
                least = min(earlier[i] for i in lowest)
                lowest = [i for i in lowest if earlier[i] == least]
        # "`listed-order` eliminates the one last in the manifest's order"
        out = lowest[-1]
        rounds.append(Round(shown, out, exhausted, tie))
        history.append(list(counts))
        continuing.remove(out)
        for ranking, number, position in held[out]:
            # "A ballot counts for its highest-ranked continuing option; with none it is exhausted."
            while position < len(ranking) and ranking[position] not in continuing:
                position += 1
            if position < len(ranking):
                held[ranking[position]].append((ranking, number, position))
                counts[ranking[position]] += number
            else:
                exhausted += number
        held[out] = []
        counts[out] = 0
