"""Rules that no given election breaks, on small elections of our own."""
from __future__ import annotations

import tempfile
import unittest
from pathlib import Path

from tallyroot_reference import receipts
from tallyroot_reference.audit import Audit, audit
from tallyroot_reference.errors import Invalid

from .builder import CLOSING, GRACE, OPENING, World, u


def judge(world: World, status: str, receipt: bytes | None = None) -> tuple[Audit, list[str]]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = world.publish(Path(temporary) / "tree", status)
        file = Path(temporary) / "receipt.json"
        file.write_bytes(receipt or b"")
        a = audit(folder, world.m.election, [file] if receipt else None)
    return a, sorted(f.code for f in a.findings)


def running(world: World) -> None:
    """Three voters, issued in time, voting in time."""
    world.issue(0, 1, 2, 3)
    world.head(OPENING)
    world.cast(OPENING + 1000, ("v0", (0, 1)), ("v1", (1,)))
    world.cast(OPENING + 2000, ("v2", (2, 1)))
    world.head(OPENING + 3000)


def ending(world: World, late: int = 0) -> None:
    world.close(world.shard, CLOSING + 300, 4)
    world.head(CLOSING + 400 + late, (0, 2))
    world.close(world.cell, CLOSING + 600 + late, len(world.choices))
    world.head(CLOSING + 700 + late, (2, 2), final=True)


class Built(unittest.TestCase):
    def test_honest(self) -> None:
        w = World()
        self.assertEqual(judge(w, "open")[1], [])
        running(w)
        self.assertEqual(judge(w, "open")[1], [])
        ending(w)
        a, codes = judge(w, "final")
        self.assertEqual((codes, a.state, a.bound()), ([], "final", 1))

    def test_status_of_another_state(self) -> None:
        w = World()
        running(w)
        ending(w)
        self.assertEqual(judge(w, "open")[1], ["results-not-final"])

    def test_early(self) -> None:
        w = World()
        w.issue(0, 1, 2, 3)
        w.cast(OPENING - 500, ("v0", (0,)))
        w.head(OPENING - 1)
        self.assertEqual(judge(w, "open")[1], ["early"])

    def test_late(self) -> None:
        w = World()
        running(w)
        w.cast(CLOSING, ("v4", (1,)))
        ending(w, late=GRACE)
        a, codes = judge(w, "final")
        self.assertEqual((codes, a.findings[0].votes), (["late"], 1))

    def test_late_by_the_witness(self) -> None:
        """Heads with times in time, that were seen later."""
        for after, codes in ((300, []), (301, ["late"])):
            w = World()
            running(w)
            w.cast(CLOSING, ("v4", (1,)))
            w.close(w.shard, CLOSING + 300, 4)
            w.close(w.cell, CLOSING + 600, 4)
            w.seen = (CLOSING + GRACE) // 1000 + after
            w.head(CLOSING + 700, (2, 2), final=True)
            with self.subTest(after):
                self.assertEqual(judge(w, "final")[1], codes)

    def test_clock(self) -> None:
        """A head that claims a time long after the witness saw it."""
        w = World()
        running(w)
        w.seen = CLOSING // 1000 - 300
        w.head(CLOSING)
        self.assertEqual(judge(w, "open")[1], [])
        w.head(CLOSING + 1)
        self.assertEqual(judge(w, "open")[1], ["clock"])

    def test_late_in_a_frozen_cell(self) -> None:
        w = World()
        running(w)
        w.notice(b"\x03" + w.cell.log.bytes)
        w.head(OPENING + 4000)
        w.cast(OPENING + 6000, ("v4", (1,)))
        w.head(OPENING + 6000)
        self.assertEqual(judge(w, "open")[1], ["late"])

    def test_more_votes_than_issued(self) -> None:
        w = World()
        w.issue(0)
        w.cast(OPENING + 1000, ("v0", (0,)), ("v1", (1,)))
        w.head(OPENING + 3000)
        a, codes = judge(w, "open")
        self.assertEqual((codes, a.bound()), (["votes-exceed-issued", "votes-exceed-issued"], 0))
        w = World()
        w.issue(0)
        w.cast(OPENING + 1000, ("v0", (0,)), ("v1", (1,)))
        # heads are not compared while an issuance log is stale; all that it has published in the end is
        w.head(OPENING + 3000, (0, 1), shard_at=1)
        self.assertEqual(judge(w, "open")[1], ["votes-exceed-issued"])
        w.issue(1)
        self.assertEqual(judge(w, "open")[1], [])

    def test_a_cell_that_never_published(self) -> None:
        w = World()
        w.issue(0)
        w.head(OPENING, (1, 0))
        w.files = {n: d for n, d in w.files.items() if not n.startswith("cells/")}
        w.entries[w.cell.log] = []
        self.assertEqual(judge(w, "open")[1], [])
        w.head(CLOSING + GRACE + 1, (1, 0), final=True)
        self.assertEqual(judge(w, "final")[1], ["unclosed", "unclosed"])

    def test_cancelled(self) -> None:
        w = World()
        running(w)
        w.notice(b"\x02")
        a, codes = judge(w, "cancelled")
        self.assertEqual((codes, a.state), ([], "cancelled"))

    def test_extended(self) -> None:
        w = World()
        running(w)
        w.notice(b"\x01" + u(CLOSING + 3000))
        w.cast(CLOSING + 3000, ("v4", (1,)))
        ending(w, late=GRACE + 2500)
        self.assertEqual(judge(w, "final")[1], [])

    def test_switches(self) -> None:
        w = World()
        running(w)
        w.switch(w.cell)
        w.cast(OPENING + 4000, ("v4", (1,)))
        w.switch(w.heads)
        w.head(OPENING + 5000)
        self.assertEqual(judge(w, "open")[1], [])
        # the main key above the switch
        size = w.cell.tree.size
        w.files[f"cells/0/checkpoints/{size}"] = w.files["cells/0/checkpoint"] = w.cell.note(size, w.cell.tree.root(), False)
        self.assertIn("checkpoint-signature", judge(w, "open")[1])

    def test_spare_without_switch(self) -> None:
        w = World()
        running(w)
        size = w.heads.tree.size
        w.files[f"heads/checkpoints/{size}"] = w.files["heads/checkpoint"] = w.heads.note(size, w.heads.tree.root(), True)
        self.assertIn("checkpoint-signature", judge(w, "open")[1])

    def test_switch_at_no_batch_end(self) -> None:
        w = World()
        running(w)
        w.notice(b"\x04" + w.cell.log.bytes + u(w.cell.tree.size + 1) + bytes(32))
        self.assertEqual(judge(w, "open")[1], ["notice-invalid"])

    def test_quorum(self) -> None:
        w = World()
        running(w)
        w.close(w.shard, CLOSING + 300, 4)
        w.head(CLOSING + 400, (0, 2))
        w.close(w.cell, CLOSING + 600, 3)
        w.head(CLOSING + 700, (2, 2), final=True, cosign=False)
        self.assertEqual(judge(w, "final")[1], ["quorum"])
        # cosignatures are strays where no witness is named
        w = World(witnesses=False)
        self.assertEqual(judge(w, "open")[1], ["foreign-file"])

    def test_states(self) -> None:
        w = World()
        running(w)
        w.head(OPENING + 4000, (2, 0))
        self.assertEqual(judge(w, "open")[1], ["closed-early", "issuance-closed-late", "log-not-closed"])
        w = World()
        running(w)
        w.close(w.shard, CLOSING + 300, 4)
        w.head(CLOSING + 400)
        self.assertEqual(judge(w, "open")[1], ["log-not-closed"])

    def test_unclosed_and_dropped(self) -> None:
        w = World()
        running(w)
        w.head(CLOSING + GRACE + 1, final=True)
        sealed = w.receipt(1, w.heads.tree.size - 1)
        self.assertEqual(judge(w, "final", sealed)[1], ["unclosed", "unclosed"])
        w.cast(CLOSING + GRACE + 1000, ("v9", (0,)))
        a, codes = judge(w, "final", w.receipt(w.cell.tree.size - 2, None))
        self.assertIn("dropped", codes)
        self.assertIn("results-wrong", codes)  # the builder's results count the vote behind the final head

    def test_early_close(self) -> None:
        w = World()
        running(w)
        w.close(w.shard, OPENING + 3000, 4)
        w.head(OPENING + 3100, (0, 2))
        w.close(w.cell, OPENING + 3200, 3)
        w.head(OPENING + 3300, (2, 2), final=True)
        a, codes = judge(w, "final")
        self.assertEqual((codes, a.state), (["closed-early", "closed-early"], "final"))
        # frozen by the authority first: nothing to find
        w = World()
        running(w)
        w.notice(b"\x03" + w.shard.log.bytes)
        w.notice(b"\x03" + w.cell.log.bytes)
        w.close(w.shard, OPENING + 3000, 4)
        w.close(w.cell, OPENING + 3200, 3)
        w.head(OPENING + 3300, (2, 2), final=True)
        self.assertEqual(judge(w, "final")[1], [])

    def test_bad_signatures(self) -> None:
        for at in (1, 40, -80, -1):
            w = World()
            w.issue(0)
            vote = bytearray(w.vote("v0", (0,)))
            vote[at] ^= 1
            w.cell.add([bytes(vote), w.tally(OPENING + 1000)])
            with self.subTest(at=at):
                self.assertTrue(judge(w, "open")[1])

    def test_receipt(self) -> None:
        w = World()
        running(w)
        good = receipts.verify(w.receipt(1, w.heads.tree.size - 1), w.m.election)
        self.assertIsNotNone(good["seal"])
        self.assertEqual(judge(w, "open", w.receipt(1, None))[1], [])
        with self.assertRaises(Invalid):
            receipts.verify(w.receipt(3, None), w.m.election)  # a tally

    def test_fork(self) -> None:
        """A receipt of another history than the published one."""
        one, other = World(), World()
        running(one)
        other.issue(0, 1, 2, 3)
        other.cast(OPENING + 1000, ("v7", (0,)))
        self.assertEqual(judge(one, "open", other.receipt(1, None))[1], ["fork"])

    def test_tail_without_checkpoint(self) -> None:
        w = World()
        running(w)
        before = w.files["cells/0/checkpoint"]
        w.cast(OPENING + 4000, ("v4", (1,)))
        for name in [n for n in w.files if n == f"cells/0/checkpoints/{w.cell.tree.size}"]:
            del w.files[name]
        w.files["cells/0/checkpoint"] = before
        a, codes = judge(w, "open")
        # results.json of the builder names the tail's size: nothing else is wrong
        self.assertLessEqual(set(codes), {"results-wrong", "checkpoint-rollback", "missing-file"})
        self.assertTrue(any("no checkpoint covers" in n for n in a.notes))


if __name__ == "__main__":
    unittest.main()
