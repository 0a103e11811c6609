"""The two given elections verify; changed ones do not."""
from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import unittest
from pathlib import Path

from tallyroot_reference.__main__ import main
from tallyroot_reference.audit import audit
from tallyroot_reference.errors import Invalid
from tallyroot_reference.receipts import verify

from .common import ELECTIONS, STATES, election_of
from .mutations import Change, changes, copy_of, found, load, may_be_missing

SEED = int(os.environ.get("TALLYROOT_SEED", "1"))
PER_KIND = int(os.environ.get("TALLYROOT_PER_KIND", "1"))


class Honest(unittest.TestCase):
    def test_audits(self) -> None:
        for name, state in STATES.items():
            folder, election = election_of(name)
            receipts = sorted((ELECTIONS / name / "receipts").glob("*.json"))
            a = audit(folder, election, receipts)
            with self.subTest(name):
                self.assertEqual([f.line() for f in a.findings], [])
                self.assertEqual(a.state, state)
                self.assertEqual(a.source.files, a.source.seen)
                self.assertGreater(len(receipts), 0)

    def test_command(self) -> None:
        folder, election = election_of("e1")
        out = io.StringIO()
        out.reconfigure = lambda **_: None  # type: ignore[attr-defined]
        with contextlib.redirect_stdout(out):
            code = main(["audit", str(ELECTIONS / "e1"), "--election", election.hex(), "--json"])
        self.assertEqual((code, json.loads(out.getvalue())["state"]), (0, "final"))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            self.assertEqual(main(["audit", str(ELECTIONS / "e1"), "--election", "00" * 32]), 2)
            self.assertEqual(main(["audit", str(folder), "--election", "00" * 32]), 1)
            self.assertEqual(main(["audit", str(folder / "nothing"), "--election", election.hex()]), 2)


class Changed(unittest.TestCase):
    def test_every_kind_of_file(self) -> None:
        for name, state in STATES.items():
            folder, election = election_of(name)
            files = load(folder)
            honest = audit(folder, election)
            named = {f"{log.prefix}/checkpoints/{s.size}" for _, head in honest.grammar.heads for log, s in zip(honest.m.logs, head.logs)}
            named |= {f"{log.name}/checkpoints/{log.signed}" for log in honest.logs.values()}
            with tempfile.TemporaryDirectory() as temporary:
                copy = copy_of(folder, Path(temporary))
                number = 0
                for change in changes(files, SEED, PER_KIND):
                    code, codes = found(copy, files, election, change)
                    number += 1
                    if code == 0 and change.what == "missing" and change.name not in named and may_be_missing(change.name, files, state):
                        continue
                    with self.subTest(name, change=change.what, file=change.name):
                        self.assertNotEqual(code, 0)
                self.assertGreater(number, 50)
                self.assertEqual(audit(copy, election).findings, [])

    def test_losses(self) -> None:
        """Whole folders, and the newest of a log with everything that follows from it."""
        for name in STATES:
            folder, election = election_of(name)
            files = load(folder)
            with tempfile.TemporaryDirectory() as temporary:
                copy = copy_of(folder, Path(temporary))
                for lost in ("cells/0", "cells/0/batches", "cells/0/checkpoints", "cells/0/tile", "heads", "heads/tile", "registrars/0/0"):
                    gone = {n: None for n in files if n.startswith(f"{lost}/")}
                    with self.subTest(name, lost=lost):
                        self.assertEqual(found(copy, files, election, Change("lost", lost, dict(gone)))[0], 1)

    def test_foreign_files(self) -> None:
        folder, election = election_of("e2")
        with tempfile.TemporaryDirectory() as temporary:
            copy = copy_of(folder, Path(temporary))
            # After genesis a batch has a vote and a tally at least: no checkpoint or partial tile ends at size 2.
            for n, stray in enumerate(["x", "cells/0/batches/00", "cells/1/checkpoint", "heads/cosigned/1", "anchors/other/0", "cells/0/tile/9/000",
                                       "cells/0/checkpoints/٣", "registrars/0/1/batches/0", "cells/0/tile/0/000.p/2"]):
                (copy / stray).parent.mkdir(parents=True, exist_ok=True)
                (copy / stray).write_bytes(b"x")
                with self.subTest(stray):
                    self.assertEqual(len(audit(copy, election).findings), 1)
                (copy / stray).unlink()
            (copy / "link").symlink_to("/")
            os.mkfifo(copy / "cells/0/checkpoints/2")
            batches = len(list((copy / "cells/0/batches").iterdir()))
            (copy / "cells/0/batches" / str(batches)).mkdir()
            (copy / "a\n\x1b[31m\udcff").write_bytes(b"")
            deep = copy / Path(*["d"] * 40)
            deep.mkdir(parents=True)
            codes = [f.code for f in audit(copy, election).findings]
            self.assertEqual(codes, ["foreign-file"] + ["not-a-file"] * 3)


class Receipts(unittest.TestCase):
    def test_changed(self) -> None:
        for name in STATES:
            _, election = election_of(name)
            file = sorted((ELECTIONS / name / "receipts").glob("*.json"))[0]
            data = file.read_bytes()
            self.assertIsNotNone(verify(data, election))
            for at in range(0, len(data), 37):
                with self.subTest(name, at=at), self.assertRaises(Invalid):
                    verify(data[:at] + bytes([data[at] ^ 1]) + data[at + 1:], election)
            for at in range(0, len(data), 499):
                with self.subTest(name, cut=at), self.assertRaises(Invalid):
                    verify(data[:at], election)

    def test_hostile(self) -> None:
        for data in (b"[" * 100_000, b'{"a":' * 50_000, b"\xff" * 100, b"9" * 100_000, b'"\\ud800"', b'{"cell":true}', b"null"):
            with self.assertRaises(Invalid):
                verify(data, bytes(32))


if __name__ == "__main__":
    unittest.main()
