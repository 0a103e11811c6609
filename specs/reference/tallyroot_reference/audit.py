"""Section 16: the audit of a directory. "It recomputes all of the above from the batches, and compares every tile, bundle, checkpoint, anchor
and `results.json` byte for byte." """
from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

from . import batches, entries, notes, receipts, results
from . import manifest as mf
from .errors import CannotCheck, Finding, Invalid
from .grammar import Cell, IssuanceLog
from .heads import HeadsLog
from .logs import Log
from .manifest import CELL, HEADS, ISSUANCE, MAX_BATCH, LogId, Manifest
from .merkle import leaf_hash
from .source import Source


class Audit:
    def __init__(self, directory: Path, election: bytes) -> None:
        below = directory / "elections" / election.hex()
        root = below if below.is_dir() else directory
        self.source = Source(root)
        self.m = self._manifest(election)
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self.grammar = HeadsLog(self.m)
        self.heads = Log(self.source, self.m, self.grammar)
        self.logs: dict[LogId, Log] = {}

    def _manifest(self, election: bytes) -> Manifest:
        """"Takes the election id and a source; every key comes from the manifest behind the id." Without it nothing can be checked."""
        try:
            data = self.source.read("manifest.json", mf.MAX_MANIFEST)
        except Invalid as error:
            raise CannotCheck(f"manifest.json {error.text}") from None
        if data is None:
            raise CannotCheck("there is no manifest.json")
        if hashlib.sha256(data).digest() != election:
            raise CannotCheck("manifest.json is not the manifest of this election id")
        try:
            return mf.parse(data)
        except Invalid as error:
            raise CannotCheck(f"the election's manifest is none: {error.text}") from None

    def report(self, code: str, file: str, evidence: str, index: int | None = None, votes: int = 0) -> None:
        self.findings.append(Finding(code, file, index, evidence, votes))

    def run(self) -> None:
        # Section 2: "true only for rehearsals"
        if self.m.demo:
            self.notes.append("the manifest says `demo`: a rehearsal")
        self.heads.read_batches()
        self.heads.read_checkpoints(self.grammar.switches.get(self.grammar.log))
        self.heads.read_tiles()
        final = self.final
        for position, log in enumerate(self.m.logs):
            below = final.logs[position].size if final else 0
            grammar = Cell(self.m, log, rank_below=below) if log.kind == CELL else IssuanceLog(self.m, log)
            self.logs[log] = Log(self.source, self.m, grammar)
            self.logs[log].read_batches()
            self.logs[log].read_checkpoints(self.grammar.switches.get(log))
            self.logs[log].read_tiles()
        self._switches()
        for index, head in self.grammar.heads:
            self._head(index, head)
        self._periods()
        self._anchors()
        self._cosigned()
        self._results()
        self._rest()

    @property
    def final(self) -> entries.Head | None:
        """The final head, where a checkpoint covers it."""
        if self.grammar.final and self.grammar.heads[-1][0] < self.heads.signed:
            return self.grammar.final
        return None

    @property
    def state(self) -> str:
        return "cancelled" if self.grammar.cancelled else "final" if self.final else "open"

    def _switches(self) -> None:
        """Section 7, switch. "size and root are those of a batch end of the log" """
        for log, (size, root) in self.grammar.switches.items():
            where = self.heads if log.kind == HEADS else self.logs[log]
            end = where.ends.get(size)
            if end is None or end.root != root:
                self.report("switch", "heads/batches", f"a switch of {log.prefix} names no batch end of it ({size})", votes=self.m.roll_size)

    def _head(self, index: int, head: entries.Head) -> None:
        """Section 8. "every (size, root) is a batch end of its log with that root" """
        votes = 0
        issued = [0] * len(self.m.registrars)
        complete = True
        stale = False
        for log, state in zip(self.m.logs, head.logs):
            known = self.logs[log]
            end = known.ends.get(state.size)
            stale = stale or (log.kind == ISSUANCE and state.state == entries.STALE)
            if state.state == entries.STALE and state.size == 1 and not known.published:
                continue  # GAP: a log that has published nothing can only be listed so; there is no checkpoint of size 1
            if known.cut and state.size > known.tree.size:
                complete = False  # what cut the log short is reported; all that follows from it is not said again
                continue
            if end is None or end.root != state.root:
                self.report("head", "heads/batches", f"names size {state.size} of {log.prefix}, which is no batch end of it with that root",
                            index, self.m.roll_size)
                complete = False
                continue
            known.need(state.size, f"head {index}")
            # Section 7: "2 closed (the entry at `size - 1` is close)"; a log that ends in close is not open
            if (state.state == entries.CLOSED) != end.closed and state.state != entries.STALE:
                self.report("state", "heads/batches", f"says state {state.state} of {log.prefix} at size {state.size}", index)
            if log.kind == CELL:
                votes += end.number
            else:
                issued[log.a] += end.number
        # "in each head in which no issuance log is stale: total votes <= issued by each registrar <= `roll.size`"
        if complete and not stale:
            for registrar, number in enumerate(issued):
                if votes > number:
                    self.report("over-issued", "heads/batches", f"{votes} votes, and registrar {registrar} issued {number}", index, votes - number)
                if number > self.m.roll_size:
                    self.report("over-roll", "heads/batches", f"registrar {registrar} issued {number} to a roll of {self.m.roll_size}", index, votes)

    def _votes_at(self, log: LogId, size: int) -> int:
        end = self.logs[log].ends.get(size)
        return end.number if end else 0

    def _periods(self) -> None:
        """Section 8. "Votes of a cell above the size in the last head whose time is at most closing (of that cell) plus grace are `late`; votes
        below the size in the last head whose time is before opening are `early`: both are counted and reported with their number." """
        heads = self.grammar.heads
        if not heads:
            return
        for position, log in enumerate(self.m.logs):
            if log.kind != CELL:
                continue
            limit = self.grammar.closing_of(log) + self.m.grace
            # GAP: votes that no later head covers are not late: nothing says when they came.
            in_time = [head.logs[position].size for _, head in heads if head.time <= limit]
            covered = self._votes_at(log, heads[-1][1].logs[position].size)
            late = covered - self._votes_at(log, in_time[-1] if in_time else 1)
            if late > 0:
                self.report("late", log.prefix, f"{late} votes appeared after closing plus grace", votes=late)
            before = [head.logs[position].size for _, head in heads if head.time < self.m.opening]
            early = self._votes_at(log, before[-1]) if before else 0
            if early:
                self.report("early", log.prefix, f"{early} votes appeared before opening", votes=early)

    def _anchors(self) -> None:
        """Section 10. "Object n (decimal, consecutive from 0) of the anchor named a is `anchors/<a>/<n>`." """
        for name in self.m.anchors:
            n, size = 0, 0
            while True:
                file = f"anchors/{name}/{n}"
                try:
                    data = self.source.read(file, MAX_BATCH)
                    if data is None:
                        break
                    anchor = batches.parse_anchor(data, self.m)
                    if anchor.n != n or anchor.old_size != size:
                        raise Invalid("anchor", f"is object {anchor.n} from size {anchor.old_size}, and {n} from {size} is next")
                    self._anchored(anchor)
                except Invalid as error:
                    self.report("anchor", file, error.text, votes=self.m.roll_size)
                    break
                n, size = n + 1, anchor.new_size
            for other in self.source.in_folder(f"anchors/{name}"):
                if f"anchors/{name}/{other}" not in self.source.seen:
                    self.report("anchor", f"anchors/{name}/{other}", f"is not judged: object {n} is missing or wrong", votes=self.m.roll_size)
                    self.source.seen.add(f"anchors/{name}/{other}")
            # "The final head must be covered by every anchor."
            if self.final and size <= self.grammar.heads[-1][0]:
                self.report("anchor", f"anchors/{name}", f"ends at size {size}, and does not cover the final head", votes=self.m.roll_size)
            elif size < self.heads.signed:
                self.notes.append(f"anchor {name} holds the heads log up to {size} of {self.heads.signed}")

    def _anchored(self, anchor: batches.Anchor) -> None:
        leaves = self.heads.tree.levels[0][anchor.old_size:anchor.new_size]
        if [leaf_hash(entry) for entry in anchor.entries] != leaves:
            raise Invalid("anchor", "holds other entries than the heads log")
        # "the note is the byte-exact `checkpoints/<new size>` of the heads log"
        if self.heads.need(anchor.new_size, f"anchor object {anchor.n}") != anchor.note:
            raise Invalid("anchor", f"its note is not heads/checkpoints/{anchor.new_size}")

    def _cosigned(self) -> None:
        """Section 4. "`cosigned/<size>` holds the same note with the cosignatures … of named witnesses after the log's line." """
        met = self.m.quorum == 0
        if self.m.witnesses:
            for size in self.heads._numbers("cosigned"):
                file = f"heads/cosigned/{size}"
                try:
                    data = self.source.read(file, notes.MAX_NOTE) or b""
                    k = notes.parse_cosigned(data, self.m.origin(self.grammar.log), self.m.heads.both, self.m.witnesses)
                    if k.size != size:
                        raise Invalid("checkpoint", f"is of size {k.size}")
                    self.heads.judge_checkpoint(k, self.grammar.switches.get(self.grammar.log))
                    # "the same note": the same text and the same line of the log in front
                    if size in self.heads.checkpoints and not data.startswith(self.heads.checkpoints[size]):
                        raise Invalid("checkpoint", f"is not heads/checkpoints/{size} with cosignatures")
                except Invalid as error:
                    self.report("cosigned", file, error.text)
                    continue
                met = met or (self.final is not None and size > self.grammar.heads[-1][0] and len(k.cosignatures) >= self.m.quorum)
        # GAP: no sentence asks a quorum of the audit; a final head without one is reported all the same.
        if self.final and not met:
            self.report("quorum", "heads/cosigned", "no checkpoint with the final head has enough cosignatures", votes=self.m.roll_size)

    def _results(self) -> None:
        """Section 12. "a pure function of the manifest and the cell sizes that it names (and their checkpoints)" """
        total = sum(log.grammar.votes for log in self.logs.values() if isinstance(log.grammar, Cell))
        limit = 1 << 20
        limit += len(self.m.cells) * 200_000 + sum(24 * len(c.options) * (len(c.options) + 1) for c in self.m.contests) + 3 * mf.MAX_MANIFEST
        try:
            data = self.source.read("results.json", min(limit, results.MAX_RESULTS))
            if data is None:
                raise Invalid("missing", "there is no results.json")
            status, claimed = results.parse(data, self.m)
            # GAP: whether results.json may lag behind the heads log is not said: it may in its sizes while open, not in its status.
            if status != self.state:
                raise Invalid("results", f"says {status}, and the heads log says {self.state}")
            expected = self._rebuild(status, [cell.size for cell in claimed])
            if expected != data:
                at = next((i for i, (a, b) in enumerate(zip(expected, data)) if a != b), min(len(expected), len(data)))
                raise Invalid("results", f"differs from what follows from the cells, first at byte {at}")
        except Invalid as error:
            self.report(error.code if error.code == "missing" else "results", "results.json", error.text, votes=total)

    def _rebuild(self, status: str, sizes: list[int]) -> bytes:
        cells: list[results.CellResult] = []
        tallies: list[entries.Tally | None] = []
        rankings: list[Counter[tuple[int, ...]]] = [Counter() for _ in self.m.contests]
        for k, size in enumerate(sizes):
            log = self.logs[LogId(CELL, k, 0)]
            # "When `final`, the sizes are those of the final head"; "any batch ends before a final head, and its sizes after one"
            if self.final and size != self.final.logs[k].size and (size or log.published):
                raise Invalid("results", f"names size {size} of cell {k}, and the final head {self.final.logs[k].size}")
            if size == 0:
                cells.append(results.CellResult(0, None))
                tallies.append(None)
                continue
            end = log.ends.get(size)
            if end is None:
                raise Invalid("results", f"names size {size} of cell {k}, where no batch ends")
            checkpoint = log.need(size, "results.json")
            if checkpoint is None:
                raise Invalid("results", f"names size {size} of cell {k}, which has no checkpoint")
            # "`proof` is the text of the C2SP `.tlog-proof` of the newest tally entry below `size` (with the entry as `extra`), under
            # `checkpoints/<size>`; null where there is no tally yet."
            proof = None
            if end.tally:
                path = log.tree.inclusion(end.tally_index, size)
                proof = notes.write_proof(end.tally_data, end.tally_index, path, checkpoint.decode())
            cells.append(results.CellResult(size, proof))
            tallies.append(end.tally)
            if status == "final" and isinstance(log.grammar, Cell):
                for mine, theirs in zip(rankings, log.grammar.rankings):
                    mine.update(theirs)
        return results.build(self.m, status, cells, tallies, rankings)

    def _rest(self) -> None:
        """Section 15. "Nothing else belongs there." """
        logs = [self.heads, *self.logs.values()]
        # causes before consequences
        self.findings[:0] = [finding for log in logs for finding in log.findings]
        for log in logs:
            if log.cut:
                self.notes.append(f"{log.name} could be read up to entry {log.tree.size - 1} only")
            if not log.published:
                self.notes.append(f"{log.name} has published nothing")
            elif log.signed < log.tree.size:
                # GAP: batches are there before their checkpoint; a tail without one is said, and is no finding while open.
                text = f"has entries {log.signed} to {log.tree.size - 1} that no checkpoint covers"
                if self.state == "final":
                    self.report("unsigned", f"{log.name}/checkpoint", text)
                else:
                    self.notes.append(f"{log.name} {text}")
        unknown = self.source.files - self.source.seen
        for name in sorted(unknown)[:1000] + self.source.odd[:1000]:
            if not any(log.cut and name.startswith(f"{log.name}/") for log in logs):
                self.report("stray", name, "does not belong in the published tree")

    def judge_receipt(self, name: str, data: bytes) -> None:
        """Section 8. "A valid receipt with an index at or above it is `dropped`." """
        try:
            verdict = receipts.prove(data, self.m.election)
        except Invalid as error:
            self.report("receipt", name, f"{error.code}: {error.text}")
            return
        k, index = verdict["cell"], verdict["index"]
        assert isinstance(k, int) and isinstance(index, int)
        if self.final and index >= self.final.logs[k].size:
            self.report("dropped", name, f"vote {index} of cell {k} is not among those that count", votes=1)
        entry = verdict.pop("entry")
        assert isinstance(entry, bytes)
        leaves = self.logs[LogId(CELL, k, 0)].tree.levels[0]
        if index >= len(leaves) or leaves[index] != leaf_hash(entry):
            self.report("fork", name, f"a valid receipt of an entry that is not entry {index} of cell {k}", votes=1)

    def bound(self) -> int | None:
        """"the bound that it cannot exclude: the smallest of `issued_r - votes` over the registrars" """
        if not self.grammar.heads:
            return None
        head = self.grammar.heads[-1][1]
        if any(self.logs[log].published and state.size not in self.logs[log].ends for log, state in zip(self.m.logs, head.logs)):
            return None
        votes = 0
        issued = [0] * len(self.m.registrars)
        for log, state in zip(self.m.logs, head.logs):
            number = self._votes_at(log, state.size)
            if log.kind == CELL:
                votes += number
            else:
                issued[log.a] += number
        return min(issued) - votes

    def verdict(self) -> dict[str, object]:
        logs = [self.heads, *self.logs.values()]
        return {"bound": self.bound(),
                "covered": {"anchors": list(self.m.anchors), "entries": {log.name: log.tree.size for log in logs},
                            "files": len(self.source.files), "heads": len(self.grammar.heads),
                            "votes": sum(log.number for log in logs if log.log.kind == CELL)},
                "election": self.m.election.hex(), "findings": [f.as_dict() for f in self.findings], "notes": self.notes,
                "state": self.state, "verified": not self.findings}


def audit(directory: Path, election: bytes, receipt_files: list[Path] | None = None) -> Audit:
    a = Audit(directory, election)
    a.run()
    for file in receipt_files or []:
        try:
            with file.open("rb") as handle:
                a.judge_receipt(file.name, handle.read(receipts.MAX_RECEIPT + 1))
        except OSError as error:
            raise CannotCheck(f"{file.name}: {error.strerror}") from None
    return a
