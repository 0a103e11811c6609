"""Section 8: the grammars of cells and issuance logs. The heads log's is in `heads.py`. Vectors: grammar.json.

A grammar is fed batch by batch: `begin`, then `entry` for each. `fail` says where the log breaks a rule: a strict grammar, as the vectors ask
for, raises `Invalid`; an audit's writes it down and goes on with what the log says.
"""
from __future__ import annotations

from collections import Counter

from . import entries as e
from .errors import Invalid
from .manifest import LogId, Manifest
from .merkle import CompactRange, leaf_hash


class Grammar:
    """What all logs have in common: "entry 0 is the genesis of this election and log, alone in batch 0. Close and final head end their
    log; close is alone in its batch. Times never fall." """

    def __init__(self, m: Manifest, log: LogId) -> None:
        self.m = m
        self.log = log
        self.time = 0
        self.ended = False
        self.n = 0
        self.first = True
        self.count = 0
        self.strict = False
        self.faults: list[tuple[int, str, str, int | None]] = []  # (index, code, words, votes at most: None for the roll)

    def fail(self, code: str, text: str, index: int, votes: int | None = None) -> None:
        """A broken rule."""
        if self.strict:
            raise Invalid(code, text, index)
        self.faults.append((index, code, text, votes))

    def weight(self) -> int | None:
        """Section 16, `grammar-broken`: "of a cell: the batch's entries; of an issuance log: 1; of the heads log: the roll" """
        return {1: self.count, 2: 1}.get(self.log.kind)

    def begin(self, n: int, index: int, count: int) -> None:
        self.n = n
        self.first = True
        self.count = count
        if n == 0:
            if count != 1:
                self.fail("genesis", "batch 0 holds something else than the genesis alone", 0)
        elif self.ended:
            self.fail("after-end", "something follows the end of the log", index, self.weight())
        elif count == 0:
            self.fail("order", "an empty batch", index, self.weight())

    def entry(self, index: int, data: bytes, tree: CompactRange) -> None:
        if self.n == 0:
            if data != e.genesis(self.m, self.log):
                self.fail("genesis", "entry 0 is not the genesis of this election and log", 0)
            return
        if self.ended and not self.first:
            self.fail("after-end" if self.log.kind == 3 else "order", "something follows the end of the log", index, self.weight())
        try:
            entry = e.parse(data, self.m)
        except Invalid as error:
            self.fail("malformed", error.text, index, 1)
            return
        self.take(index, entry, data, tree)
        self.first = False

    def take(self, index: int, entry: e.Entry, data: bytes, tree: CompactRange) -> None:
        raise NotImplementedError

    def tick(self, index: int, time: int, grain: bool) -> None:
        """Section 7. "The time is rounded up to a multiple of `batch_wait_ms`." Section 8. "Times never fall." """
        if grain and time % self.m.batch_wait_ms:
            self.fail("time-grain", "a time that is no multiple of batch_wait_ms", index, 0)
        if time < self.time:
            self.fail("time-falls", "the time falls", index, 0)
        self.time = max(time, self.time)

    def close(self, index: int, entry: e.Close, count: int) -> None:
        """Section 7. "count is the number of votes (cell) or issuances (issuance log) in the log." """
        if not self.first or self.count != 1:
            self.fail("order", "a close that is not alone in its batch", index, self.weight())
        self.tick(index, entry.time, True)
        if entry.count != count:
            self.fail("wrong-count", f"the close says {entry.count}, the log holds {count}", index, abs(entry.count - count))
        self.ended = True


class Cell(Grammar):
    """"`cell = genesis (vote+ tally)* close?`" """

    def __init__(self, m: Manifest, log: LogId, check_signatures: bool = True, rank_below: int = 2**64) -> None:
        super().__init__(m, log)
        self.check_signatures = check_signatures
        self.rank_below = rank_below
        self.credentials: set[bytes] = set()
        self.votes = 0
        self.abstentions = 0
        self.blanks = [0] * len(m.contests)
        self.counts = [[0] * len(c.options) for c in m.contests]
        self.rankings: list[Counter[tuple[int, ...]]] = [Counter() for _ in m.contests]
        self.tally: e.Tally | None = None
        self.tally_data = b""
        self.last_index = 0
        self.before = b""

    def begin(self, n: int, index: int, count: int) -> None:
        super().begin(n, index, count)
        self.last_index = index + count - 1
        self.before = b""

    def take(self, index: int, entry: e.Entry, data: bytes, tree: CompactRange) -> None:
        """"a batch n >= 1 is one or more votes …, then one tally with batch number n; or a close" """
        if isinstance(entry, e.Close):
            self.close(index, entry, self.votes)
        elif isinstance(entry, e.Vote) and index < self.last_index:
            self._vote(index, entry, leaf_hash(data))
        elif isinstance(entry, e.Tally) and index == self.last_index and not self.first:
            self._tally(index, entry)
            self.tally, self.tally_data = entry, data
        else:
            self.fail("order", "an entry that cannot stand here in a cell", index, self.weight())
            if isinstance(entry, e.Tally):
                self._tally(index, entry)
                self.tally, self.tally_data = entry, data

    def _vote(self, index: int, vote: e.Vote, leaf: bytes) -> None:
        # "strictly ascending by leaf hash (RFC 6962, compared as bytes)"
        if leaf <= self.before:
            self.fail("unsorted", "votes that do not ascend by leaf hash", index, self.count - 1)
        self.before = leaf
        # "Every vote belongs to this cell; no credential key occurs twice in the log; every signature verifies."
        if self.m.cell_of(vote.credential) != self.log.a:
            self.fail("wrong-cell", f"a vote of cell {self.m.cell_of(vote.credential)}", index, 1)
        if vote.credential in self.credentials:
            self.fail("duplicate-vote", "a credential that has voted already", index, 1)
        self.credentials.add(vote.credential)
        if self.check_signatures:
            fault = e.vote_fault(vote, self.m)
            if fault:
                self.faults.append((index, *fault, 1))
        self.votes += 1
        self.abstentions += e.is_abstention(vote.choices)
        for c, chosen in enumerate(vote.choices):
            if not chosen:
                self.blanks[c] += 1
            # "A count is the number of ballots that choose the option (plurality, approval) or rank it first (ranked)."
            elif self.m.contests[c].method == "ranked":
                self.counts[c][chosen[0]] += 1
                if index < self.rank_below:
                    self.rankings[c][chosen] += 1
            else:
                for option in chosen:
                    self.counts[c][option] += 1

    def _tally(self, index: int, tally: e.Tally) -> None:
        if tally.batch != self.n:
            self.fail("tally-batch", f"a tally of batch {tally.batch} in batch {self.n}", index, max(tally.votes, self.votes))
        self.tick(index, tally.time, True)
        # "Each tally is the exact sum."
        contests = tuple((b, tuple(c)) for b, c in zip(self.blanks, self.counts))
        if (tally.votes, tally.abstentions, tally.contests) != (self.votes, self.abstentions, contests):
            self.fail("tally-sum", "a tally that is not the sum of the votes", index, max(tally.votes, self.votes))


class IssuanceLog(Grammar):
    """"`issuance = genesis (issuance | count)* close?`" """

    def __init__(self, m: Manifest, log: LogId) -> None:
        super().__init__(m, log)
        self.issued: set[int] = set()
        self.number = 0  # of issuance entries
        self.refused: tuple[int, ...] = (0, 0, 0, 0)

    def take(self, index: int, entry: e.Entry, data: bytes, tree: CompactRange) -> None:
        if isinstance(entry, e.Issuance):
            # "roll index below `roll.size`, in this shard, at most once"
            if entry.roll_index >= self.m.roll_size:
                self.fail("off-roll", f"roll index {entry.roll_index}, and the roll has {self.m.roll_size}", index, 1)
            elif self.m.shard_of(self.log.a, entry.roll_index) != self.log.b:
                self.fail("wrong-shard", f"roll index {entry.roll_index} is of another shard", index, 1)
            elif entry.roll_index in self.issued:
                self.fail("duplicate-issuance", f"a second issuance to roll index {entry.roll_index}", index, 1)
            self.number += 1
            self.issued.add(entry.roll_index)
        elif isinstance(entry, e.Count):
            self.tick(index, entry.time, True)
            # "`issued` is the number of issuance entries before it"
            if entry.issued != self.number:
                self.fail("wrong-count", f"a count of {entry.issued} behind {self.number} issuances", index, abs(entry.issued - self.number))
            # "Counts never fall."
            if any(new < old for new, old in zip(entry.refused, self.refused)):
                self.fail("count-falls", "a number of refusals that falls", index, 0)
            # "this binds registrars; no verifier refuses another shard that counts some"
            self.refused = entry.refused
        elif isinstance(entry, e.Close):
            self.close(index, entry, self.number)
        else:
            self.fail("order", "an entry that cannot stand here in an issuance log", index, self.weight())
