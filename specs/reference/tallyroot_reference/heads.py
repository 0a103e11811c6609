"""Section 8: the grammar of the heads log, with notices (section 7). "`heads = genesis (head | notice)* final-head?`" """
from __future__ import annotations

from . import entries as e
from .grammar import Grammar
from .manifest import CELL, HEADS, ISSUANCE, LogId, Manifest
from .merkle import CompactRange, leaf_hash


class HeadsLog(Grammar):
    def __init__(self, m: Manifest) -> None:
        super().__init__(m, LogId(HEADS, 0, 0))
        self.closing = m.closing
        self.sequence = 0
        self.cancelled: int | None = None  # the notice's index
        self.frozen: dict[LogId, int] = {}  # log to the notice's index
        self.switches: dict[LogId, tuple[int, bytes]] = {}
        self.heads: list[tuple[int, e.Head]] = []
        # "before the first head they are 1: the genesis"
        self.last = tuple(e.LogState(e.OPEN, 1, leaf_hash(e.genesis(m, log))) for log in m.logs)

    @property
    def final(self) -> e.Head | None:
        return self.heads[-1][1] if self.heads and self.heads[-1][1].final else None

    def take(self, index: int, entry: e.Entry, data: bytes, tree: CompactRange) -> None:
        if isinstance(entry, e.Head):
            self._head(index, entry)
        elif isinstance(entry, e.Notice):
            self._notice(index, entry, tree)
        else:
            self.fail("order", "an entry that cannot stand here in the heads log", index)

    def _head(self, index: int, head: e.Head) -> None:
        self.tick(index, head.time, False)
        for log, was, now in zip(self.m.logs, self.last, head.logs):
            self._state(index, log, was, now)
        # "In the head that first shows a cell closed, unless it is frozen, every issuance log is closed or stale"
        issuance_open = any(s.state == e.OPEN for log, s in zip(self.m.logs, head.logs) if log.kind == ISSUANCE)
        newly = any(log.kind == CELL and was.state != e.CLOSED and now.state == e.CLOSED and log not in self.frozen
                    for log, was, now in zip(self.m.logs, self.last, head.logs))
        if newly and issuance_open:
            self.faults.append((index, "issuance-open", "a cell is closed while an issuance log is open", None))
        # "A log that a head shows closed for the first time is finding `closed-early` if that head's time is not above the closing time in
        # force, unless the log was frozen or the election cancelled in front of that head."
        if head.time <= self.closing and self.cancelled is None:
            for log, was, now in zip(self.m.logs, self.last, head.logs):
                if was.state != e.CLOSED and now.state == e.CLOSED and log not in self.frozen:
                    self.faults.append((index, "closed-early", f"{log.prefix} is closed at {head.time}, and closing is {self.closing}", None))
        if head.final:
            # "It is made once all logs are closed, or later than closing plus grace"
            if any(s.state != e.CLOSED for s in head.logs) and head.time <= self.closing + self.m.grace:
                self.fail("early-final", "a final head before all logs are closed and the grace is over", index)
            # "A log that it lists with state other than 2 is finding `unclosed`."
            for log, s in zip(self.m.logs, head.logs):
                if s.state != e.CLOSED:
                    self.faults.append((index, "unclosed", f"{log.prefix} is not closed in the final head", None))
            self.ended = True
        self.last = head.logs
        self.heads.append((index, head))

    def _state(self, index: int, log: LogId, was: e.LogState, now: e.LogState) -> None:
        # "once a log is closed in a head, every later head repeats its state, size and root"
        if was.state == e.CLOSED and now != was:
            self.fail("reopened", f"{log.prefix} was closed and is changed", index, abs(now.size - was.size))
        # "size and root repeat the last head's, or are those of genesis"
        if now.state == e.STALE and (now.size, now.root) != (was.size, was.root):
            self.fail("stale", f"{log.prefix} is stale and changes", index, abs(now.size - was.size))
        # "sizes never fall"
        if now.size < was.size:
            self.fail("size-falls", f"{log.prefix} shrinks from {was.size} to {now.size}", index, was.size - now.size)
        if now.size == was.size and now.root != was.root:
            self.fail("fork", f"{log.prefix} has two roots of size {now.size}", index)
        if self.switches.get(log, (now.size, now.root)) != (now.size, now.root) and self.switches[log][0] == now.size:
            self.fail("fork", f"{log.prefix} has another root than its switch names", index)
        # "2 closed (the entry at `size - 1` is close)": the genesis is none
        if now.state == e.CLOSED and now.size < 2:
            self.fail("order", f"{log.prefix} is closed at its genesis", index)

    def _notice(self, index: int, notice: e.Notice, tree: CompactRange) -> None:
        # "Notices carry valid signatures of the authority."
        if not e.notice_verifies(notice, self.m):
            self.fail("notice-signature", "a notice that the authority did not sign", index)
            return
        # "sequences are 0, 1, 2, … over the heads log"
        if notice.sequence != self.sequence:
            self.fail("notice-sequence", f"sequence {notice.sequence}, and {self.sequence} is next", index)
        self.sequence = notice.sequence + 1
        if notice.kind == e.EXTEND:
            # "An `extend` when the time of the last head before it is above the closing time in force … is a finding."
            if self.heads and self.heads[-1][1].time > self.closing:
                self.fail("notice", "an extension after closing", index)
            # "the closing time; must be later than the one in force"
            elif notice.closing <= self.closing:
                self.fail("notice", "an extension that does not extend", index)
            # "and not later than `retention`"
            elif notice.closing > self.m.retention:
                self.fail("notice", "an extension beyond the retention of anchors", index)
            else:
                self.closing = notice.closing
        elif notice.kind == e.CANCEL:
            # "or a second notice of one effect (cancel; freeze or switch of one log)"
            if self.cancelled is not None:
                self.fail("notice", "a second cancel", index)
            else:
                self.cancelled = index
        elif notice.kind == e.FREEZE and notice.log:
            if notice.log in self.frozen:
                self.fail("notice", f"a second freeze of {notice.log.prefix}", index)
            self.frozen.setdefault(notice.log, index)
        elif notice.log:
            self._switch(index, notice, notice.log, tree)

    def _switch(self, index: int, notice: e.Notice, log: LogId, tree: CompactRange) -> None:
        if log in self.switches:
            self.fail("notice", f"a second switch of {log.prefix}", index)
            return
        if log.kind == HEADS:
            # "For a switch of the heads log itself …; its `size` is the index of the notice entry."
            if notice.size != index or notice.root != tree.root():
                self.fail("notice", "a switch of the heads log that names another size or root", index)
        else:
            # "A switch names no size below the last head's."
            last = self.last[self.m.logs.index(log)]
            if notice.size < last.size or (notice.size == last.size and notice.root != last.root):
                self.fail("notice", f"a switch of {log.prefix} that contradicts the last head", index)
        self.switches[log] = (notice.size, notice.root)

    def closing_of(self, log: LogId) -> int:
        """Section 7, freeze. "The log's closing time becomes the time of the first head (or final head) behind the notice in the heads log,
        if that is earlier." """
        if log in self.frozen:
            behind = next((head.time for index, head in self.heads if index > self.frozen[log]), None)
            if behind is not None:
                return min(self.closing, behind)
        return self.closing
