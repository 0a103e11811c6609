"""Section 11 a second time, over single ballots and in the simplest words, against `counting.run_off`."""
from __future__ import annotations

import random
import unittest
from collections import Counter

from tallyroot_reference.counting import run_off


def slowly(options: int, ballots: list[tuple[int, ...]], rule: str) -> tuple[list[tuple[list[int | None], int | None, int, bool]], int | None]:
    left = list(range(options))
    rounds: list[tuple[list[int | None], int | None, int, bool]] = []
    while True:
        tops = [next((o for o in b if o in left), None) for b in ballots if b]
        counts = [tops.count(o) if o in left else None for o in range(options)]
        votes = {o: tops.count(o) for o in left}
        exhausted, total = tops.count(None), sum(votes.values())
        winners = [o for o in left if total and (votes[o] > total / 2 or left == [o])]
        if winners or not total:
            return rounds + [(counts, None, exhausted, False)], winners[0] if winners else None
        lowest = [o for o in left if votes[o] == min(votes.values())]
        tie = len(lowest) > 1
        if rule == "prior-rounds":
            for before, _, _, _ in rounds[::-1]:
                lowest = [o for o in lowest if before[o] == min(before[p] or 0 for p in lowest)]
        rounds.append((counts, max(lowest), exhausted, tie))
        left.remove(max(lowest))


class Counting(unittest.TestCase):
    def test_random(self) -> None:
        rng = random.Random(5)
        ties = 0
        for _ in range(3000):
            options = rng.randint(1, 6)
            ballots = [tuple(rng.sample(range(options), rng.randint(0, options))) for _ in range(rng.randint(0, 12))]
            rule = rng.choice(["listed-order", "prior-rounds"])
            rounds, winner = run_off(options, Counter(ballots).items(), rule)
            found = [(r.counts, r.eliminated, r.exhausted, r.tie_broken) for r in rounds]
            self.assertEqual((found, winner), slowly(options, ballots, rule), (options, ballots, rule))
            ties += any(r.tie_broken for r in rounds)
        self.assertGreater(ties, 500)


if __name__ == "__main__":
    unittest.main()
