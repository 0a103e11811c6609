"""Sections 6 and 7: ballots and entries, byte for byte."""
from __future__ import annotations

from dataclasses import dataclass

from . import ed25519
from .errors import Invalid
from .manifest import HEADS, LogId, Manifest
from .rsa import credential_message

GENESIS, VOTE, TALLY, CLOSE, ISSUE, COUNT, HEAD, NOTICE, FINAL = range(1, 10)
EXTEND, CANCEL, FREEZE, SWITCH = range(1, 5)
OPEN, STALE, CLOSED = range(3)
NAMES = {GENESIS: "genesis", VOTE: "vote", TALLY: "tally", CLOSE: "close", ISSUE: "issuance", COUNT: "count", HEAD: "head",
         NOTICE: "notice", FINAL: "final head"}
MAX_ENTRY = 65_535

Choices = tuple[tuple[int, ...], ...]


class Reader:
    """Takes fixed numbers of bytes; "Trailing bytes, unknown types and values out of range are errors" (section 1)."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, length: int) -> bytes:
        if self.at + length > len(self.data):
            raise Invalid("malformed", "ends too soon")
        self.at += length
        return self.data[self.at - length:self.at]

    def number(self, length: int) -> int:
        return int.from_bytes(self.take(length), "big")

    def time(self) -> int:
        """Section 1. "Times are milliseconds … in a `u64` below 2^53." """
        value = self.number(8)
        if value >= 2**53:
            raise Invalid("malformed", "a time of 2^53 or more")
        return value

    def end(self) -> None:
        if self.at != len(self.data):
            raise Invalid("malformed", "bytes follow")


@dataclass(frozen=True)
class Genesis:
    log: LogId


@dataclass(frozen=True)
class Vote:
    credential: bytes
    registrar_signatures: tuple[bytes, ...]
    ballot: bytes
    choices: Choices
    signature: bytes


@dataclass(frozen=True)
class Tally:
    batch: int
    time: int
    votes: int
    abstentions: int
    contests: tuple[tuple[int, tuple[int, ...]], ...]  # blanks, counts


@dataclass(frozen=True)
class Close:
    time: int
    count: int


@dataclass(frozen=True)
class Issuance:
    roll_index: int


@dataclass(frozen=True)
class Count:
    time: int
    issued: int
    refused: tuple[int, ...]


@dataclass(frozen=True)
class LogState:
    state: int
    size: int
    root: bytes


@dataclass(frozen=True)
class Head:
    time: int
    logs: tuple[LogState, ...]
    final: bool


@dataclass(frozen=True)
class Notice:
    key: int
    signature: bytes
    body: bytes
    kind: int
    sequence: int
    closing: int = 0
    log: LogId | None = None
    size: int = 0
    root: bytes = b""


Entry = Genesis | Vote | Tally | Close | Issuance | Count | Head | Notice


def take_ballot(r: Reader, m: Manifest) -> Choices:
    """Section 6. `ballot = for each contest of the manifest, in order: count u16 ‖ option index u16 * count` """
    choices: list[tuple[int, ...]] = []
    for contest in m.contests:
        count = r.number(2)
        if count > len(contest.options):
            raise Invalid("malformed", "more choices than options")
        chosen = tuple(r.number(2) for _ in range(count))
        if any(i >= len(contest.options) for i in chosen):
            raise Invalid("malformed", "an option that the contest lacks")
        # "*plurality*: count is 0 or 1."
        if contest.method == "plurality" and count > 1:
            raise Invalid("malformed", "two choices in a plurality contest")
        # "*approval*: strictly ascending indices."
        if contest.method == "approval" and any(a >= b for a, b in zip(chosen, chosen[1:])):
            raise Invalid("malformed", "approvals that do not ascend")
        # "*ranked*: distinct indices, most preferred first."
        if contest.method == "ranked" and len(set(chosen)) != count:
            raise Invalid("malformed", "an option ranked twice")
        choices.append(chosen)
    return tuple(choices)


def parse_ballot(data: bytes, m: Manifest) -> Choices:
    r = Reader(data)
    choices = take_ballot(r, m)
    r.end()
    return choices


def is_abstention(choices: Choices) -> bool:
    """Section 6. "A ballot that is blank in every contest is an **abstention**." """
    return not any(choices)


def take_log(r: Reader, m: Manifest) -> LogId:
    log = LogId(r.number(1), r.number(4), r.number(4))
    if not m.has_log(log):
        raise Invalid("malformed", "a log that the election lacks")
    return log


def _notice(r: Reader, m: Manifest) -> Notice:
    key = r.number(1)
    if key > 1:
        raise Invalid("malformed", "a key byte that is neither main nor spare")
    signature = r.take(64)
    body = r.data[r.at:]
    kind, sequence = r.number(1), r.number(4)
    closing, log, size, root = 0, None, 0, b""
    if kind == EXTEND:
        closing = r.time()
    elif kind == FREEZE:
        log = take_log(r, m)
        # "log id (9), a cell or an issuance log"
        if log.kind == HEADS:
            raise Invalid("malformed", "a freeze of the heads log")
    elif kind == SWITCH:
        log, size, root = take_log(r, m), r.number(8), r.take(32)
    elif kind != CANCEL:
        raise Invalid("malformed", "an unknown kind of notice")
    return Notice(key, signature, body, kind, sequence, closing, log, size, root)


def parse(data: bytes, m: Manifest) -> Entry:
    """Section 7. "The first byte is the type." """
    if not 1 <= len(data) <= MAX_ENTRY:
        raise Invalid("malformed", "not 1 to 65,535 bytes")
    r = Reader(data)
    kind = r.number(1)
    entry: Entry
    if kind == GENESIS:
        if r.take(32) != m.election:
            raise Invalid("malformed", "the genesis of another election")
        entry = Genesis(take_log(r, m))
    elif kind == VOTE:
        credential = r.take(32)
        signatures = tuple(r.take(reg.key.size) for reg in m.registrars)
        start = r.at
        choices = take_ballot(r, m)
        entry = Vote(credential, signatures, data[start:r.at], choices, r.take(64))
    elif kind == TALLY:
        batch, time, votes, abstentions = r.number(8), r.time(), r.number(8), r.number(8)
        entry = Tally(batch, time, votes, abstentions,
                      tuple((r.number(8), tuple(r.number(8) for _ in c.options)) for c in m.contests))
    elif kind == CLOSE:
        entry = Close(r.time(), r.number(8))
    elif kind == ISSUE:
        entry = Issuance(r.number(8))
        r.take(32)
    elif kind == COUNT:
        entry = Count(r.time(), r.number(8), tuple(r.number(8) for _ in range(4)))
    elif kind in (HEAD, FINAL):
        time = r.time()
        logs = tuple(LogState(r.number(1), r.number(8), r.take(32)) for _ in m.logs)
        if any(s.state > CLOSED for s in logs):
            raise Invalid("malformed", "an unknown state")
        entry = Head(time, logs, kind == FINAL)
    elif kind == NOTICE:
        entry = _notice(r, m)
    else:
        raise Invalid("malformed", "an unknown type")
    r.end()
    return entry


def vote_fault(vote: Vote, m: Manifest) -> tuple[str, str] | None:
    """Section 8. "every signature verifies": each registrar's over the credential key, the credential's over the ballot (section 3). The finding's
    code and words."""
    try:
        ed25519.check_key(vote.credential, "vote")
    except Invalid as error:
        return "vote-bad-key", f"the credential key: {error.text}"
    message = credential_message(m.election, vote.credential)
    for registrar, signature in zip(m.registrars, vote.registrar_signatures):
        if not registrar.key.verify(message, signature):
            return "vote-registrar-signature", f"the signature of registrar “{registrar.name}” does not verify"
    if not ed25519.verify(vote.credential, b"tallyroot/v1/ballot\0" + m.election + vote.ballot, vote.signature):
        return "vote-ballot-signature", "the ballot's signature does not verify"
    return None


def notice_verifies(notice: Notice, m: Manifest) -> bool:
    """Section 3. label `tallyroot/v1/notice`, body `key byte ‖ notice body`, signed by the authority."""
    message = b"tallyroot/v1/notice\0" + m.election + bytes([notice.key]) + notice.body
    return ed25519.verify(m.authority.both[notice.key], message, notice.signature)


def genesis(m: Manifest, log: LogId) -> bytes:
    return bytes([GENESIS]) + m.election + log.bytes
