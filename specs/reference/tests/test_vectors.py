"""All vectors of specs/vectors/."""
from __future__ import annotations

import unicodedata
import unittest

from tallyroot_reference import vectors
from tallyroot_reference.unassigned import RANGES, is_unassigned

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

    def test_unassigned(self) -> None:
        """The published table is ours, and Unicode's own, as far as this Python's version of it can say."""
        lines = (VECTORS.parent / "unicode-14.0-unassigned.txt").read_text().splitlines()
        ranges = [part.split("-") for line in lines if not line.startswith("#") for part in line.split()]
        self.assertEqual([(int(r[0], 16), int(r[-1], 16)) for r in ranges], RANGES)
        self.assertGreaterEqual(tuple(map(int, unicodedata.unidata_version.split("."))), (14,))
        for code in range(0x110000):
            unassigned = unicodedata.category(chr(code)) == "Cn"
            if unicodedata.unidata_version == "14.0.0":
                self.assertEqual(is_unassigned(code), unassigned, hex(code))
            else:
                self.assertTrue(is_unassigned(code) or not unassigned, hex(code))

    def test_no_file_is_passed_over(self) -> None:
        self.assertEqual({p.stem for p in VECTORS.glob("*.json")}, set(vectors.FILES) | {"trees"})


if __name__ == "__main__":
    unittest.main()
