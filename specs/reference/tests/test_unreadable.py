"""What cannot be read says nothing about the election: exit code 2, whatever it is that cannot be read."""
from __future__ import annotations

import contextlib
import io
import os
import tempfile
import unittest
from collections.abc import Iterator
from pathlib import Path

from tallyroot_reference.__main__ import main

from .builder import OPENING, World

NOBODY = 65_534


@contextlib.contextmanager
def closed(path: Path) -> Iterator[None]:
    """Nobody may read the file or folder; nor may we, also where the tests run as root."""
    mode, root = path.stat().st_mode, os.geteuid() == 0
    path.chmod(0)
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        path.chmod(mode)


def run(*args: str | Path) -> tuple[int, str]:
    said = io.StringIO()
    out = io.TextIOWrapper(io.BytesIO())
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        return main([str(a) for a in args]), said.getvalue()


class Unreadable(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.top = Path(temporary.name)
        self.top.chmod(0o755)
        w = World()
        w.issue(0)
        w.cast(OPENING + 1000, ("v0", (0,)))
        w.head(OPENING + 2000)
        self.election = w.m.election.hex()
        self.tree = w.publish(self.top / "all" / "elections" / self.election, "open")
        self.receipt = self.top / "receipt.json"
        self.receipt.write_bytes(w.receipt(1, None))

    def test_an_audit(self) -> None:
        args = ("audit", self.top / "all", "--election", self.election, "--receipt", self.receipt)
        self.assertEqual(run(*args), (0, ""))
        names = sorted(p for p in self.tree.rglob("*"))
        self.assertGreater(len(names), 30)
        for path in (*names, self.tree, self.tree.parent, self.tree.parent.parent, self.receipt):
            with self.subTest(path.relative_to(self.top)), closed(path):
                code, said = run(*args)
                self.assertEqual(code, 2)
                self.assertIn("could not check: ", said)
        self.assertEqual(run(*args), (0, ""))

    def test_a_single_file(self) -> None:
        for command in ("receipt", "split-view", "dispute"):
            with self.subTest(command):
                with closed(self.receipt):
                    self.assertEqual(run(command, self.receipt, "--election", self.election), (2, "could not check: receipt.json: Permission denied\n"))
                for path in (self.top, self.top / "nothing"):
                    self.assertEqual(run(command, path, "--election", self.election)[0], 2)
                if Path("/proc/self/mem").exists():  # its first byte is an I/O error
                    self.assertEqual(run(command, "/proc/self/mem", "--election", self.election), (2, "could not check: mem: Input/output error\n"))

    def test_vectors(self) -> None:
        self.assertEqual(run("vectors", self.top)[0], 2)


if __name__ == "__main__":
    unittest.main()
