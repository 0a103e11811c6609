"""Section 16: the audit of a directory. "It recomputes all of the above from the batches, and compares every tile, bundle, checkpoint, anchor
and `results.json` byte for byte." """
from __future__ import annotations

import hashlib
import itertools
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


CLOCKS_APART = 300_000  # section 8: "more than 5 minutes"


class NoElection(Exception):
    """The source holds a manifest that is not the id's, or is none: a finding, and nothing else can be verified."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.findings = [Finding(code, "manifest.json", None, text, mf.MAX_ROLL)]
        self.notes = ["without the manifest there are no keys to verify by"]
        self.state = "unknown"

    def verdict(self) -> dict[str, object]:
        return {"bound": None, "covered": {"files": 1, "heads": 0, "votes": 0}, "findings": [f.as_dict() for f in self.findings], "notes": self.notes,
                "state": self.state, "verified": False}


def _root(directory: Path, election: bytes) -> Path:
    """The election's folder, or the one that holds it below `elections/`."""
    below = directory / "elections" / election.hex()
    try:
        return below if below.is_dir() else directory
    except OSError as error:
        raise CannotCheck(f"the source cannot be listed: {error.strerror}") from None


class Audit:
    def __init__(self, directory: Path, election: bytes) -> None:
        self.source = Source(_root(directory, election))
        self.m = self._manifest(election)
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self.grammar = HeadsLog(self.m)
        self.heads = Log(self.source, self.m, self.grammar)
        self.logs: dict[LogId, Log] = {}
        self.complete: dict[int, int] = {}  # size of a cosigned checkpoint with its quorum, to the time by which it had it

    def _manifest(self, election: bytes) -> Manifest:
        """"Takes the election id and a source; every key comes from the manifest behind the id." Without it nothing can be checked."""
        try:
            data = self.source.read("manifest.json", mf.MAX_MANIFEST)
        except Invalid as error:
            raise NoElection(error.code, f"manifest.json {error.text}") from None
        if data is None:
            raise CannotCheck("there is no manifest.json")
        if hashlib.sha256(data).digest() != election:
            raise NoElection("manifest-mismatch", "manifest.json is not the manifest of this election id")
        try:
            return mf.parse(data)
        except Invalid as error:
            raise NoElection("manifest-invalid", error.text) from None

    def report(self, code: str, file: str, evidence: str, index: int | None = None, votes: int | None = 0) -> None:
        """`votes`: section 16, "votes at most"; None: the roll."""
        at_most = self.m.roll_size if votes is None else min(votes, self.m.roll_size)
        self.findings.append(Finding(code, file, index, evidence, at_most))

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
        self._totals()
        self._unclosed()
        self._cosigned()
        self._periods()
        self._anchors()
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
        """"`cancelled` where the heads log, up to `checkpoint`, holds a cancel; else `final` where it ends in a final head" """
        cancelled = self.grammar.cancelled is not None and self.grammar.cancelled < self.heads.signed
        return "cancelled" if cancelled else "final" if self.final else "open"

    def _switches(self) -> None:
        """Section 7, switch. "size and root are those of a batch end of the log" """
        for log, (size, root) in self.grammar.switches.items():
            if log.kind == HEADS:
                continue  # "whether a batch ends there or not": the grammar has compared it with the tree below the notice
            end = self.logs[log].ends.get(size)
            if (end is None or end.root != root) and not (self.logs[log].cut and size > self.logs[log].tree.size):
                self.report("notice-invalid", "heads/batches", f"a switch of {log.prefix} names no batch end of it ({size})", votes=None)

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
                continue  # "A log that has published nothing is listed with state 1 and its genesis, and needs no checkpoint and no file."
            if known.cut and state.size > known.tree.size:
                complete = False  # what cut the log short is reported; all that follows from it is not said again
                continue
            if state.state != entries.STALE:
                known.named(state.size)
            if end is None or end.root != state.root:
                code = "head-root" if end else "checkpoint-rollback" if state.size > known.tree.size else "head-size"
                self.report(code, "heads/batches", f"names size {state.size} of {log.prefix}, which is no batch end of it with that root", index,
                            state.size - known.tree.size if code == "checkpoint-rollback" else None)
                complete = False
                continue
            if state.state != entries.STALE or state.size > 1:
                known.need(state.size, f"head {index}")
            # Section 7: "2 closed (the entry at `size - 1` is close)"; a log that ends in close is not open
            if (state.state == entries.CLOSED) != end.closed and state.state != entries.STALE:
                self.report("log-not-closed", "heads/batches", f"says state {state.state} of {log.prefix} at size {state.size}", index)
            if log.kind == CELL:
                votes += end.number
            else:
                issued[log.a] += end.number
        # "in each head in which no issuance log is stale: total votes <= issued by each registrar <= `roll.size`"
        if complete and not stale:
            for registrar, number in enumerate(issued):
                if votes > number:
                    self.report("votes-exceed-issued", "heads/batches", f"{votes} votes, and registrar {registrar} issued {number}", index, votes - number)
                if number > self.m.roll_size:
                    self.report("issued-exceeds-roll", "heads/batches", f"registrar {registrar} issued {number} to a roll of {self.m.roll_size}", index,
                                number - self.m.roll_size)

    def _totals(self) -> None:
        """Section 8. "whatever heads call stale: the votes at the last head's sizes <= all that each registrar has issued in its published logs <= `roll.size`" """
        if any(log.cut for log in self.logs.values()):
            return
        last = self.grammar.heads[-1][1].logs if self.grammar.heads else []
        votes = sum(self._votes_at(log, state.size) for log, state in zip(self.m.logs, last) if log.kind == CELL)
        for registrar in range(len(self.m.registrars)):
            issued = sum(known.number for log, known in self.logs.items() if log.kind == ISSUANCE and log.a == registrar)
            if votes > issued:
                self.report("votes-exceed-issued", f"registrars/{registrar}/0/checkpoint",
                            f"the last head covers {votes} votes, and registrar {registrar} issued {issued} in all", votes=votes - issued)
            if issued > self.m.roll_size:
                self.report("issued-exceeds-roll", f"registrars/{registrar}/0/checkpoint", f"registrar {registrar} issued {issued} to a roll of {self.m.roll_size}",
                            votes=issued - self.m.roll_size)

    def _unclosed(self) -> None:
        """Section 8. "A log that it lists with state other than 2 is finding `unclosed`." """
        if self.final:
            for log, state in zip(self.m.logs, self.final.logs):
                if state.state != entries.CLOSED:
                    above = self.logs[log].number - self._votes_at(log, state.size)
                    self.report("unclosed", "heads/batches", f"{log.prefix} is not closed; it has published {above} more since", votes=max(0, above))

    def _votes_at(self, log: LogId, size: int) -> int:
        end = self.logs[log].ends.get(size)
        return end.number if end else 0

    def _periods(self) -> None:
        """Section 8. "Votes of a cell below the size in the last head, and not below the size in the last head in time (1 where there is none), are
        `late`. … Votes below the size in the last head whose time is before opening are `early`." """
        heads = self.grammar.heads
        if not heads:
            return
        for position, log in enumerate(self.m.logs):
            if log.kind != CELL:
                continue
            limit = self.grammar.closing_of(log) + self.m.grace
            in_time = [head.logs[position].size for _, head in itertools.takewhile(lambda item: self._in_time(*item, limit), heads)]
            covered = self._votes_at(log, heads[-1][1].logs[position].size)
            late = covered - self._votes_at(log, in_time[-1] if in_time else 1)
            if late > 0:
                self.report("late", log.prefix, f"{late} votes appeared after closing plus grace", votes=late)
            before = [head.logs[position].size for _, head in heads if head.time < self.m.opening]
            early = self._votes_at(log, before[-1]) if before else 0
            if early:
                self.report("early", log.prefix, f"{early} votes appeared before opening", votes=early)

    def _in_time(self, index: int, head: entries.Head, limit: int) -> bool:
        """"A head is *in time* for a cell if neither it nor a head before it has a time above the cell's closing plus grace, or was first witnessed
        more than 5 minutes after that" """
        witnessed = min((time for size, time in self.complete.items() if size > index), default=None)
        return head.time <= limit and (witnessed is None or witnessed <= limit + CLOCKS_APART)

    def _anchors(self) -> None:
        """Section 10. "Object n (decimal, consecutive from 0) of the anchor named a is `anchors/<a>/<n>`." """
        for name in self.m.anchors:
            n, size, broken = 0, 0, False
            while True:
                file = f"anchors/{name}/{n}"
                try:
                    data = self.source.read(file, MAX_BATCH)
                    if data is None:
                        break
                    anchor = batches.parse_anchor(data, self.m)
                    if anchor.n != n:
                        raise Invalid("anchor-malformed", f"is object {anchor.n}, and {n} is next")
                    if anchor.old_size != size:
                        raise Invalid("anchor-conflict", f"starts at size {anchor.old_size}, and {size} is next")
                    self._anchored(anchor)
                except Invalid as error:
                    code = error.code if error.code in ("file-too-large", "not-a-file", "anchor-conflict", "checkpoint-rollback") else "anchor-malformed"
                    none = code not in ("anchor-conflict", "checkpoint-rollback") or error.text.startswith("starts")
                    self.report(code, file, error.text, n, 0 if none else None)
                    broken = True
                    break
                n, size = n + 1, anchor.new_size
            for other in self.source.in_folder(f"anchors/{name}"):
                if f"anchors/{name}/{other}" not in self.source.seen and not broken:
                    self.report("foreign-file", f"anchors/{name}/{other}", f"continues nothing: object {n} is missing")
                self.source.seen.add(f"anchors/{name}/{other}")
            # "The final head must be covered by every anchor."
            if broken:
                continue
            if self.final and size <= self.grammar.heads[-1][0]:
                self.report("anchor-not-final", f"anchors/{name}/{n}", f"ends at size {size}, and does not cover the final head")
            elif size < self.heads.signed:
                self.notes.append(f"anchor {name} holds the heads log up to {size} of {self.heads.signed}")

    def _anchored(self, anchor: batches.Anchor) -> None:
        if anchor.new_size > self.heads.tree.size and not self.heads.cut:
            raise Invalid("checkpoint-rollback", f"holds the heads log up to {anchor.new_size}, which ends at {self.heads.tree.size}")
        leaves = self.heads.tree.levels[0][anchor.old_size:anchor.new_size]
        if [leaf_hash(entry) for entry in anchor.entries] != leaves or anchor.new_size not in self.heads.ends:
            raise Invalid("anchor-conflict", "holds other entries than the heads log")
        # "the note is the byte-exact `checkpoints/<new size>` of the heads log"
        if self.heads.need(anchor.new_size, f"anchor object {anchor.n}") != anchor.note:
            raise Invalid("anchor-conflict", f"its note is not heads/checkpoints/{anchor.new_size}")

    def _cosigned(self) -> None:
        """Section 4. "`cosigned/<size>` begins with the bytes of `checkpoints/<size>`; after them stand the cosignatures … of named witnesses" """
        if not self.m.witnesses:
            return
        for size in self.heads._numbers("cosigned"):
            file = f"heads/cosigned/{size}"
            try:
                data = self.source.read(file, notes.MAX_NOTE) or b""
                k = notes.parse_cosigned(data, self.m.origin(self.grammar.log), self.m.heads.both, self.m.witnesses)
                if not data.startswith(self.heads.checkpoints.get(size, b"-")) or not k.cosignatures:
                    raise Invalid("cosigned", f"is not heads/checkpoints/{size} with cosignatures")
            except Invalid as error:
                code = error.code if error.code in ("file-too-large", "not-a-file") else "cosignature-wrong"
                self.report(code, file, error.text, votes=0 if code == "cosignature-wrong" else None)
                continue
            # "*by* when: the quorum-th smallest of their times"
            if 0 < self.m.quorum <= len(k.cosignatures):
                self.complete[size] = sorted(time for _, time in k.cosignatures)[self.m.quorum - 1] * 1000
        # "No head's time is more than 5 minutes above the time by which a `cosigned/<size>` with a size above its index had its quorum"
        for size, time in self.complete.items():
            below = [head for index, head in self.grammar.heads if index < size]
            if below and below[-1].time > time + CLOCKS_APART:
                self.report("clock", f"heads/cosigned/{size}", f"a head claims {below[-1].time}, and a quorum had seen it by {time}", votes=None)
        # "One must exist, with its quorum, for the size of a heads log that ends in a final head (finding `quorum`)"
        size = self.heads.tree.size
        if self.final and self.m.quorum and size not in self.complete:
            self.report("quorum", f"heads/cosigned/{size}", "the final head is not cosigned by the quorum", votes=None)

    def _results(self) -> None:
        """Section 12. "a pure function of the manifest and the cell sizes that it names (and their checkpoints)" """
        file = "results.json"
        try:
            data = self.source.read(file, results.MAX_RESULTS)
            if data is None:
                self.report("missing-file", file, "there is no results.json")
                return
            status, claimed = results.parse(data, self.m)
            if status != self.state:
                # "finding `results-not-final` where it is there and says `open`"
                if self.state == "final":
                    self.report("results-not-final", file, f"says {status}, and there is a final head", votes=None)
                else:
                    raise Invalid("results", f"says {status}, and the heads log says {self.state}")
            expected = self._rebuild(status, [cell.size for cell in claimed])
            if expected != data:
                at = next((i for i, (a, b) in enumerate(zip(expected, data)) if a != b), min(len(expected), len(data)))
                raise Invalid("results", f"differs from what follows from the cells, first at byte {at}")
        except Invalid as error:
            code = error.code if error.code in ("file-too-large", "not-a-file") else "results-wrong"
            self.report(code, file, error.text, votes=None)

    def _rebuild(self, status: str, sizes: list[int]) -> bytes:
        cells: list[results.CellResult] = []
        tallies: list[entries.Tally | None] = []
        rankings: list[Counter[tuple[int, ...]]] = [Counter() for _ in self.m.contests]
        for k, size in enumerate(sizes):
            log = self.logs[LogId(CELL, k, 0)]
            # "When `final`, the sizes are those of the final head, without exception"; "any batch ends before a final head, and its sizes after one"
            if self.final and status != "open" and size != self.final.logs[k].size:
                raise Invalid("results", f"names size {size} of cell {k}, and the final head {self.final.logs[k].size}")
            # "1, with `proof` null, for a cell that never published", after a final head
            if size == 0 or size == 1 and self.final and not log.published:
                cells.append(results.CellResult(size, None))
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
                try:
                    note = checkpoint.decode()
                except UnicodeDecodeError:
                    raise Invalid("results", f"rests on checkpoints/{size} of cell {k}, which is no text") from None
                proof = notes.write_proof(end.tally_data, end.tally_index, path, note)
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
                # "nothing in them counts: the log ends at `checkpoint`"
                self.notes.append(f"{log.name} has entries {log.signed} to {log.tree.size - 1} that no checkpoint covers")
        unknown = self.source.files - self.source.seen
        for code, names in (("foreign-file", sorted(unknown)[:1000]), ("not-a-file", self.source.odd[:1000])):
            for name in names:
                if not any(log.cut and name.startswith(f"{log.name}/") for log in logs):
                    self.report(code, name, "does not belong in the published tree")

    def judge_receipt(self, name: str, data: bytes) -> None:
        """Section 8. "A valid receipt with an index at or above it is `dropped`." """
        try:
            receipt = receipts.prove(data, self.m.election)
        except Invalid as error:
            code = {"malformed": "receipt-malformed", "other-election": "receipt-foreign"}.get(error.code, "receipt-invalid")
            self.report(code, name, f"{error.code}: {error.text}", votes=1)
            return
        k, index = receipt.cell, receipt.index
        if self.final and index >= self.final.logs[k].size:
            self.report("dropped", name, f"vote {index} of cell {k} is not among those that count", votes=1)
        leaves = self.logs[LogId(CELL, k, 0)].tree.levels[0]
        if index >= len(leaves) or leaves[index] != leaf_hash(receipt.entry):
            self.report("fork", name, f"a valid receipt of an entry that is not entry {index} of cell {k}", votes=1)

    def bound(self) -> int | None:
        """"the bound that it cannot exclude: the smallest of `issued_r - votes` over the registrars" """
        votes = 0
        issued = [0] * len(self.m.registrars)
        for position, log in enumerate(self.m.logs):
            known = self.logs[log]
            if known.cut:
                return None
            # "at the final head's sizes, or without one at the checkpoints that the audit took"
            number = self._votes_at(log, self.final.logs[position].size if self.final else known.signed)
            if log.kind == CELL:
                votes += number
            else:
                issued[log.a] += number
        return max(0, min(issued) - votes)

    def verdict(self) -> dict[str, object]:
        logs = [self.heads, *self.logs.values()]
        return {"bound": self.bound(),
                "covered": {"anchors": list(self.m.anchors), "entries": {log.name: log.tree.size for log in logs},
                            "files": len(self.source.files), "heads": len(self.grammar.heads),
                            "votes": sum(log.number for log in logs if log.log.kind == CELL)},
                "election": self.m.election.hex(), "findings": [f.as_dict() for f in self.findings], "notes": self.notes,
                "state": self.state, "verified": not self.findings}


def audit(directory: Path, election: bytes, receipt_files: list[Path] | None = None) -> Audit | NoElection:
    try:
        a = Audit(directory, election)
    except NoElection as fault:
        return fault
    a.run()
    for file in receipt_files or []:
        try:
            with file.open("rb") as handle:
                a.judge_receipt(file.name, handle.read(receipts.MAX_RECEIPT + 1))
        except OSError as error:
            raise CannotCheck(f"{file.name}: {error.strerror}") from None
    return a
