"""specs/vectors/evidence.json is what its generator makes, and the commands say what it says."""
from __future__ import annotations

import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path

from tallyroot_reference.__main__ import main

from . import evidence


class Evidence(unittest.TestCase):
    def test_made(self) -> None:
        self.assertTrue(evidence.FILE.read_text() == evidence.text(), "run python3 -m tests.evidence, and read the diff")

    def test_every_ruling(self) -> None:
        rulings = {c.verdict["ruling"] for c in evidence.disputes() if c.verdict}
        self.assertEqual(rulings, {"invalid-receipt", "not-shown", "rolled-back", "held", "covered", "counted", "dropped", "split-view"})

    def test_commands(self) -> None:
        """The exit codes of all, and what is printed."""
        with tempfile.TemporaryDirectory() as temporary:
            file = Path(temporary) / "file.json"
            for case in evidence.cases():
                if case.fill:
                    continue
                file.write_text(case.file)
                out = io.TextIOWrapper(io.BytesIO())
                with self.subTest(case.why), contextlib.redirect_stdout(out):
                    code = main([case.kind, str(file), "--election", case.election])
                    out.seek(0)
                    said = json.loads(out.read())
                    self.assertEqual((code, said["valid"], said.get("error")), (case.exit_code, not case.error, case.error))


if __name__ == "__main__":
    unittest.main()
