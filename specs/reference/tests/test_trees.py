"""specs/vectors/trees.json: it is what its generator makes, and this verifier comes to the findings that it names."""
from __future__ import annotations

import base64
import json
import tempfile
import unittest
from pathlib import Path

from tallyroot_reference.audit import audit

from . import trees


class Trees(unittest.TestCase):
    def test_made(self) -> None:
        self.assertTrue(trees.FILE.read_text() == trees.text(), "run python3 -m tests.trees, and read the diff")

    def test_audited(self) -> None:
        file = json.loads(trees.FILE.read_text())
        for case in file["cases"]:
            with tempfile.TemporaryDirectory() as temporary, self.subTest(case["why"]):
                for name, blob in case["files"].items():
                    (Path(temporary) / name).parent.mkdir(parents=True, exist_ok=True)
                    (Path(temporary) / name).write_bytes(base64.b64decode(file["blobs"][blob]))
                a = audit(Path(temporary), bytes.fromhex(case["election"]))
                found: dict[str, int] = {}
                for f in a.findings:
                    found[f.code] = max(f.votes, found.get(f.code, 0))
                expected = {f["code"]: f["votes"] for f in case["findings"]}
                words = [f.line() for f in a.findings]
                self.assertEqual({c: v for c, v in found.items() if c not in case["also"]}, expected, words)
                if "manifest-mismatch" not in expected:
                    self.assertEqual(a.state, case["state"])


if __name__ == "__main__":
    unittest.main()
