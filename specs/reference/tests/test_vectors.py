"""All vectors of specs/vectors/."""
from __future__ import annotations

import unittest

from tallyroot_reference import vectors

from .common import VECTORS


class Vectors(unittest.TestCase):
    def test_all(self) -> None:
        total = 0
        for name, (number, wrong) in vectors.run(VECTORS).items():
            with self.subTest(file=name):
                self.assertEqual(wrong, [])
                self.assertGreater(number, 0)
            total += number
        self.assertGreaterEqual(total, 1000)

    def test_no_file_is_passed_over(self) -> None:
        self.assertEqual({p.stem for p in VECTORS.glob("*.json")}, set(vectors.FILES))


if __name__ == "__main__":
    unittest.main()
