"""Small published trees with the findings that every verifier must come to: specs/vectors/trees.json.

Each case is an election of the builder's, made wrong by whoever could have done it: mostly an operator who signs everything again.
`python3 -m tests.trees` writes the file; the tests compare it with what is made now, and both verifiers audit what stands in it.
"""
from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from tallyroot_reference import entries, notes, results
from tallyroot_reference.merkle import leaf_hash

from .builder import CLOSING, GRACE, OPENING, World, u

FILE = Path(__file__).resolve().parents[2] / "vectors" / "trees.json"
RETENTION = CLOSING + 5000


@dataclass
class Case:
    why: str
    state: str
    files: dict[str, bytes]
    election: str
    findings: dict[str, int]  # code to the most votes that one of these findings can affect
    also: list[str] = field(default_factory=list)  # codes that a verifier may report besides


def lean(files: dict[str, bytes]) -> dict[str, bytes]:
    """Without superseded partial tiles: the logs are shorter than one tile, so the widest of each is the newest."""
    widest: dict[str, int] = {}
    for name in files:
        if m := re.fullmatch(r"(.*/tile/.*)\.p/(\d+)", name):
            widest[m[1]] = max(widest.get(m[1], 0), int(m[2]))
    return {n: d for n, d in files.items() if not (m := re.fullmatch(r"(.*/tile/.*)\.p/(\d+)", n)) or int(m[2]) == widest[m[1]]}


def running(votes: int = 2, **world: bool) -> World:
    """Four credentials; some votes in one batch; a head before and one after."""
    w = World(**world)
    w.issue(0, 1, 2, 3)
    w.head(OPENING)
    w.cast(OPENING + 1000, *[(f"v{i}", (i % 3,)) for i in range(votes)])
    w.head(OPENING + 3000)
    return w


def ended(w: World, closing: int = CLOSING, late: int = 0, cosign: bool = True) -> World:
    w.close(w.shard, closing + 300, 4)
    w.head(closing + 400 + late, (0, 2))
    w.close(w.cell, closing + 600 + late, len(w.choices))
    w.head(closing + 700 + late, (2, 2), final=True, cosign=cosign)
    return w


def head_with(w: World, change: Callable[[bytearray], None], time: int = OPENING + 4000, states: tuple[int, int] = (0, 0), final: bool = False) -> World:
    """A head of the logs as they are, changed: type 1, time 8; the cell's state 1, size 8, root 32; the shard's."""
    body = u(states[0], 1) + u(w.cell.tree.size) + w.cell.tree.root() + u(states[1], 1) + u(w.shard.tree.size) + w.shard.tree.root()
    entry = bytearray((b"\x09" if final else b"\x07") + u(time) + body)
    change(entry)
    w.time = int.from_bytes(entry[1:9], "big")
    w.heads.add([bytes(entry)])
    return w


def put(at: int, data: bytes) -> Callable[[bytearray], None]:
    def change(entry: bytearray) -> None:
        entry[at:at + len(data)] = data
    return change


def voted(w: World, change: Callable[[bytearray], None], choice: tuple[int, ...] = (1,)) -> World:
    """Another batch of one vote, changed after it was signed; then it chooses so."""
    w.head(OPENING + 4000)
    vote = bytearray(w.vote("v9", (1,)))
    change(vote)
    w.choices[-1] = choice
    w.cell.add([bytes(vote), w.tally(OPENING + 5000)])
    w.head(OPENING + 6000)
    return w


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def flip(at: int) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        data[at] ^= 1
    return change


Tree = tuple[str, str, World, dict[str, int]]


def _honest() -> Iterator[Tree]:
    w = World()
    yield "nothing but geneses", "open", w, {}
    yield "an open election", "open", running(), {}
    yield "an election to its end", "final", ended(running()), {}
    yield "without witnesses", "final", ended(running(witnesses=False)), {}
    w = running()
    w.notice(b"\x02")
    yield "cancelled", "cancelled", w, {}
    w = running()
    w.notice(b"\x01" + u(CLOSING + 3000))
    yield "extended", "final", ended(w, closing=CLOSING + 3000), {}
    w = running()
    w.notice(b"\x03" + w.shard.log.bytes)
    w.notice(b"\x03" + w.cell.log.bytes)
    yield "ended early by freezing all logs", "final", ended(w, closing=OPENING + 4000), {}
    w = running()
    w.switch(w.cell)
    w.cast(OPENING + 4000, ("v7", (1,)))
    w.switch(w.heads)
    w.head(OPENING + 5000)
    yield "a cell and the heads log by their spare keys", "open", w, {}
    w = World()
    w.issue(0)
    w.head(OPENING, (1, 0))
    w.files = {n: d for n, d in w.files.items() if not n.startswith("cells/")}
    w.entries[w.cell.log] = []
    yield "a cell that has not published yet", "open", w, {}
    w.head(CLOSING + GRACE + 1, (1, 0), final=True)
    yield "a cell that never published", "final", w, {"unclosed": 0}
    w = World()
    w.issue(0)
    w.notice(b"\x02")
    w.head(OPENING, (1, 0))
    w.files = {n: d for n, d in w.files.items() if not n.startswith("cells/")}
    w.entries[w.cell.log] = []
    yield "cancelled, and a cell that has not published yet", "cancelled", w, {}
    w.head(CLOSING + GRACE + 1, (1, 0), final=True)
    yield "cancelled, and a cell that never published", "cancelled", w, {"unclosed": 0}
    w = running()
    w.notice(b"\x02")
    yield "cancelled, to its end", "cancelled", ended(w), {}
    w = World()
    w.issue(*range(10))
    w.cast(OPENING, *[(f"v{i}", (i % 3,)) for i in range(10)])
    w.head(OPENING)
    yield "all voters of the roll vote, at the moment of opening", "open", w, {}
    w = running()
    w.notice(b"\x01" + u(RETENTION))
    yield "extended as far as retention goes", "open", w, {}
    w = running()
    w.head(CLOSING)
    w.notice(b"\x01" + u(CLOSING + 3000))
    yield "extended behind a head at closing", "open", w, {}
    w = running()
    w.head(OPENING + 3000)
    yield "two heads at one time", "open", w, {}


def _times() -> Iterator[Tree]:
    w = World()
    w.issue(0, 1)
    w.cast(OPENING - 500, ("v0", (0,)))
    w.head(OPENING - 1)
    yield "a vote that a head shows before opening", "open", w, {"early": 1}
    w = running()
    w.cast(CLOSING, ("v4", (1,)))
    yield "a vote that no head showed by closing plus grace", "final", ended(w, late=GRACE), {"late": 1}
    for after in (300, 301):
        w = running()
        w.cast(CLOSING, ("v4", (1,)))
        w.close(w.shard, CLOSING + 300, 4)
        w.close(w.cell, CLOSING + 600, 3)
        w.seen = (CLOSING + GRACE) // 1000 + after
        w.head(CLOSING + 700, (2, 2), final=True)
        yield f"a head in time that the witness saw {after} s after closing plus grace", "final", w, {"late": 1} if after > 300 else {}
    for time in (CLOSING, CLOSING + 1):
        w = running()
        w.seen = CLOSING // 1000 - 300
        w.head(time)
        yield f"a head's time {time - (CLOSING - 300_000)} ms after the witness saw it", "open", w, {"clock": 10} if time > CLOSING else {}
    yield "all closed, and counted, at closing", "final", ended(running(), closing=CLOSING - 700), {"closed-early": 10}
    w = running()
    w.notice(b"\x03" + w.shard.log.bytes)
    yield "closed early, and only the issuance log was frozen", "final", ended(w, closing=OPENING + 4000), {"closed-early": 10}
    w = running()
    w.head(CLOSING + GRACE, final=True)
    yield "a final head at closing plus grace, with open logs", "final", w, {"final-head-early": 10, "unclosed": 0}
    w = running()
    w.head(CLOSING + GRACE + 1, final=True)
    yield "a final head behind closing plus grace, with open logs", "final", w, {"unclosed": 0}
    yield "a final head that no quorum cosigned", "final", ended(running(), cosign=False), {"quorum": 10}
    w = running()
    w.notice(b"\x01" + u(RETENTION + 1))
    yield "an extension beyond retention", "open", w, {"notice-invalid": 10}
    w = running()
    w.head(CLOSING + 1)
    w.notice(b"\x01" + u(CLOSING + 3000))
    yield "an extension behind a head later than closing", "open", w, {"notice-invalid": 10}


def _heads() -> Iterator[Tree]:
    yield "a head of a root that is not the cell's", "open", head_with(running(), put(18, bytes(32))), {"head-root": 10}
    yield "a head of a size where no batch ends", "open", head_with(running(0 + 3), put(10, u(2))), {"head-falls": 3, "?head-size": 0}
    w = running()
    yield "a head of a size that was never published", "open", head_with(w, put(10, u(w.cell.tree.size + 1))), {"checkpoint-rollback": 1}
    yield "a head's time falls", "open", head_with(running(), put(0, b"\x07"), OPENING + 2999), {"head-falls": 0}
    yield "a head calls an open log closed", "open", head_with(running(), put(50, b"\x02")), {"log-not-closed": 0, "closed-early": 10}
    w = running()
    w.close(w.shard, CLOSING + 300, 4)
    w.head(CLOSING + 400)
    yield "a head calls a closed log open", "open", w, {"log-not-closed": 0}
    w = running()
    w.close(w.cell, CLOSING + 300, 2)
    w.head(CLOSING + 400, (2, 0))
    yield "a cell is closed before an issuance log", "open", w, {"issuance-closed-late": 10}
    w = running()
    w.cast(OPENING + 3500, ("v4", (1,)))
    yield "a stale cell that grows", "open", head_with(w, put(0, b"\x07"), states=(1, 0)), {"head-stale": 2}
    w = World()
    w.issue(0)
    w.cast(OPENING + 1000, ("v0", (0,)), ("v1", (1,)))
    w.head(OPENING + 3000)
    yield "more votes than issuances", "open", w, {"votes-exceed-issued": 1}
    w = World()
    w.issue(0)
    w.cast(OPENING + 1000, ("v0", (0,)), ("v1", (1,)))
    w.head(OPENING + 3000, (0, 1), shard_at=1)
    yield "more votes than issuances, and a stale issuance log", "open", w, {"votes-exceed-issued": 1}
    w = World()
    w.issue(0)
    w.cast(OPENING + 1000, ("v0", (0,)), ("v1", (1,)), ("v2", (1,)))
    w.head(OPENING + 3000)
    w.issue(1)
    w.head(OPENING + 4000)
    w.issue(2, 3)
    w.head(OPENING + 5000)
    yield "more votes than issuances, until those catch up", "open", w, {"votes-exceed-issued": 2}
    w = World()
    w.issue(*range(10))
    w.issue(0)
    w.head(OPENING + 3000)
    yield "more issuances than voters", "open", w, {"issued-exceeds-roll": 1, "issuance-duplicate": 1}
    w = World()
    w.issue(*range(10))
    w.head(OPENING + 3000)
    w.issue(0)
    yield "more issuances than voters, behind the last head", "open", w, {"issued-exceeds-roll": 1, "issuance-duplicate": 1}
    w = running()
    w.notice(b"\x04" + w.cell.log.bytes + u(w.cell.tree.size + 1) + bytes(32))
    yield "a switch at no batch end", "open", w, {"notice-invalid": 10}
    w = running()
    w.notice(b"\x02")
    w.notice(b"\x02")
    yield "cancelled twice", "cancelled", w, {"notice-invalid": 10}
    w = running()
    w.heads.add([bytes([*b"\x08\0", *bytes(64), *b"\x02", *u(0, 4)])])
    yield "a notice that the authority did not sign", "open", w, {"notice-signature": 10}


def _entries() -> Iterator[Tree]:
    yield "a registrar's signature that does not verify", "open", voted(running(), flip(40)), {"vote-registrar-signature": 1}
    yield "a ballot that is not what the voter signed", "open", voted(running(), flip(-65), (0,)), {"vote-ballot-signature": 1}
    small_order = bytes([1]) + bytes(31)

    def identity(vote: bytearray) -> None:
        vote[1:33] = small_order

    yield "a credential of small order", "open", voted(running(), identity), {"vote-bad-key": 1}
    w = running(1)
    w.cast(OPENING + 5000, ("v0", (2,)))
    w.head(OPENING + 6000)
    yield "a credential that voted twice", "open", w, {"vote-duplicate": 1}
    w = running(1)
    votes = sorted((w.vote(f"w{i}", (i,)) for i in range(2)), key=leaf_hash, reverse=True)
    w.cell.add([*votes, w.tally(OPENING + 5000)])
    w.head(OPENING + 6000)
    yield "votes in another order than their leaf hashes'", "open", w, {"batch-order": 2}
    w = running(1)
    vote = w.vote("w0", (0,))
    tally = bytearray(w.tally(OPENING + 5000))
    tally[-1] += 1
    w.cell.add([vote, bytes(tally)])
    w.head(OPENING + 6000)
    yield "a tally with a vote too many", "open", w, {"tally-wrong": 2, "?results-wrong": 0}
    w = running(1)
    vote = w.vote("w0", (0,))
    w.cell.add([vote, w.tally(OPENING + 5050)])
    w.head(OPENING + 6000)
    yield "a tally's time that is not rounded", "open", w, {"time-backwards": 0}
    w = running(1)
    w.cell.add([w.tally(OPENING + 5000)])
    w.head(OPENING + 6000)
    yield "a tally without votes", "open", w, {"grammar-broken": 1}
    w = running(1)
    w.issue(1)
    w.head(OPENING + 6000)
    yield "a second issuance to one voter", "open", w, {"issuance-duplicate": 1}
    w = running(1)
    w.issue(10)
    w.head(OPENING + 6000)
    yield "an issuance off the roll", "open", w, {"issuance-out-of-roll": 1}
    w = running(1)
    w.shard.add([b"\x77"])
    w.head(OPENING + 6000)
    yield "an entry of no type", "open", w, {"entry-malformed": 1}
    w = running(1)
    w.shard.add([b"\x06" + u(OPENING + 5000) + u(5) + bytes(32)])
    w.head(OPENING + 6000)
    yield "a count that is not the number of issuances", "open", w, {"count-wrong": 1}
    w = running(1)
    w.close(w.shard, CLOSING + 300, 5)
    w.head(CLOSING + 400, (0, 2))
    yield "a close that is not the number of issuances", "open", w, {"close-wrong": 1}


Change = Callable[[dict[str, bytes]], None]


def _file_changes(w: World) -> Iterator[tuple[str, Change, dict[str, int]]]:
    """What is wrong with single files of a finished election, which nobody can sign anew."""
    def change(name: str, data: Callable[[bytes], bytes | None]) -> Change:
        def make(files: dict[str, bytes]) -> None:
            new = data(files.pop(name, b""))
            if new is not None:
                files[name] = new
        return make

    heads, cell = w.heads.tree.size, w.cell.tree.size
    tile = next(n for n in lean(w.files) if n.startswith("cells/0/tile/0"))
    bundle = next(n for n in lean(w.files) if n.startswith("cells/0/tile/entries"))
    yield "a tile with another hash", change(tile, flipped), {"tile-mismatch": 0}
    yield "a bundle with another entry", change(bundle, flipped), {"bundle-mismatch": 0}
    yield "a tile that is not there", change(tile, lambda _: None), {"missing-file": 0}
    yield "a checkpoint that a head names is not there", change("cells/0/checkpoints/4", lambda _: None), {"missing-file": 0}
    yield "the newest checkpoint of the heads log under a signature that does not verify", change("heads/checkpoint", lambda d: d[:-9] + (b"A" if d[-9:-8] != b"A" else b"B") + d[-8:]), {
        "checkpoint-signature": 10, "?checkpoint-differs": 0}
    yield "a newest checkpoint of the heads log that is none", change("heads/checkpoint", lambda _: b"none\n"), {"checkpoint-malformed": 10, "?checkpoint-differs": 0}
    yield "a newest checkpoint of a cell that is none", change("cells/0/checkpoint", lambda _: b"none\n"), {"checkpoint-malformed": 10, "?checkpoint-differs": 0}
    yield "a checkpoint that is no text", change(f"cells/0/checkpoints/{cell}", lambda d: d[:-9] + b"\xff" + d[-8:]), {
        "checkpoint-malformed": 10, "checkpoint-differs": 0, "?results-wrong": 0}
    for what, name, data, findings in (
            ("an earlier checkpoint by the name of a size beyond the log", cell + 5, w.files["cells/0/checkpoints/4"], {"checkpoint-place": 0}),
            ("an earlier checkpoint by the name of a size at which no batch ends", 3, w.files["cells/0/checkpoints/4"], {"checkpoint-place": 0}),
            ("another checkpoint by the name of a size that a head names", 4, w.files[f"cells/0/checkpoints/{cell}"], {"checkpoint-place": 10, "?results-wrong": 0}),
            ("no checkpoint by the name of a size beyond the log", cell + 5, b"x", {"checkpoint-malformed": 10})):
        yield what, change(f"cells/0/checkpoints/{name}", lambda _, data=data: data), findings
    yield "a line of nobody under a cosigned checkpoint", change(f"heads/cosigned/{heads - 1}", lambda d: d + d.splitlines(True)[-2]), {"cosignature-wrong": 0}
    yield "a foreign file", change("cells/1/checkpoint", lambda _: b"x"), {"foreign-file": 0}
    yield "results.json is not there", change("results.json", lambda _: None), {"missing-file": 0}
    yield "results.json with another count", change("results.json", lambda d: d.replace(b'"blanks":0', b'"blanks":1', 1)), {"results-wrong": 10}
    yield "an anchor with another entry", change("anchors/a/0", lambda d: d[:100] + bytes([d[100] ^ 1]) + d[101:]), {"anchor-conflict": 10}
    yield "an anchor that cannot be decoded", change("anchors/a/0", lambda d: d + b"\0"), {"anchor-malformed": 0}
    yield "an anchor that is empty", change("anchors/a/0", lambda _: None), {"anchor-not-final": 0}
    yield "manifest.json of another election", change("manifest.json", lambda d: d.replace(b"Built", b"Built!")), {"manifest-mismatch": 2**40}
    yield "a batch with a changed byte", change("registrars/0/0/batches/1", flipped), {"batch-chain": 10}
    right = next(d for n, d in w.files.items() if n == tile)
    yield "a tile beyond the log", change("cells/0/tile/0/005", lambda _: right), {"foreign-file": 0}
    yield "a tile of a level that the log has not", change("cells/0/tile/2/000.p/1", lambda _: right[:32]), {"foreign-file": 0}
    yield "a tile that is wider than the log", change(f"cells/0/tile/0/000.p/{cell + 1}", lambda _: right + right[:32]), {"foreign-file": 0}
    yield "a bundle that is wider than the log", change(f"cells/0/tile/entries/000.p/{cell + 1}", lambda _: right), {"foreign-file": 0}
    yield "a tile by no tile's name", change("cells/0/tile/whatever", lambda _: right), {"foreign-file": 0}
    yield "an anchor's object behind a gap", change("anchors/a/2", lambda _: w.files["anchors/a/0"]), {"foreign-file": 0}
    yield "results.json with a vote for another option", change("results.json", lambda _: _results(w, "final", cell, _moved)), {"results-wrong": 10}
    yield "results.json with an abstention too many", change("results.json", lambda _: _results(w, "final", cell, _abstained)), {"results-wrong": 10}
    yield "results.json of a size before the final head's", change("results.json", lambda _: _results(w, "final", 4)), {"results-wrong": 10}
    yield "results.json without a cell's votes", change("results.json", lambda _: _results(w, "final", None)), {"results-wrong": 10}
    yield "the newest checkpoint as an earlier one", change(
        "cells/0/checkpoint", lambda _: w.files["cells/0/checkpoints/4"]), {"checkpoint-rollback": cell - 4, "missing-file": 0, "?results-wrong": 0}


def _moved(tally: entries.Tally) -> entries.Tally:
    (blanks, counts), *rest = tally.contests
    at = next(i for i, count in enumerate(counts) if count)
    other = (at + 1) % len(counts)
    moved = [count + (i == other) - (i == at) for i, count in enumerate(counts)]
    return replace(tally, contests=((blanks, tuple(moved)), *rest))


def _abstained(tally: entries.Tally) -> entries.Tally:
    return replace(tally, votes=tally.votes + 1, abstentions=tally.abstentions + 1)


def _results(w: World, status: str, at: int | None, change: Callable[[entries.Tally], entries.Tally] = lambda tally: tally, of: int | None = None) -> bytes:
    """results.json of the log's size before its close, or of an earlier one where a tally stands; without a tally, of no votes. The proof may be of an earlier tally."""
    log = w.entries[w.cell.log]
    if at is None:
        return results.build(w.m, status, [results.CellResult(len(log), None)], [None], [Counter()])
    index = next(i for i in reversed(range(of or at)) if isinstance(entries.parse(log[i], w.m), entries.Tally))
    tally = entries.parse(log[index], w.m)
    assert isinstance(tally, entries.Tally)
    proof = notes.write_proof(log[index], index, w.cell.tree.inclusion(index, at), w.files[f"cells/0/checkpoints/{at}"].decode())
    return results.build(w.m, status, [results.CellResult(at, proof)], [change(tally)], [Counter()])


def _beginnings() -> Iterator[Case]:
    """What is there before all logs have published, and what must not be."""
    w = World()
    made = lean(w.finished("open"))
    first = results.build(w.m, "open", [results.CellResult(0, None)], [None], [Counter()])
    nothing = {"manifest.json": made["manifest.json"], "results.json": first}
    yield case("nothing but the manifest, and results of nothing", "open", nothing, w, {})
    without = {n: d for n, d in made.items() if n not in ("cells/0/checkpoint", "cells/0/checkpoints/1")} | {"results.json": first}
    yield case("a log without `checkpoint`", "open", without, w, {"missing-file": 10})
    tile = "cells/0/tile/0/000.p/1"
    yield case("a tile of a log that has published nothing", "open", nothing | {tile: made[tile]}, w, {"foreign-file": 0})
    yield case("a file by no tile's name, of a log that has published nothing", "open", nothing | {"cells/0/tile/whatever": b"x"}, w, {"foreign-file": 0})
    heads = {n: d for n, d in made.items() if not n.startswith("heads/")}
    yield case("an anchor, and no heads log", "open", heads, w, {"checkpoint-rollback": 10, "?missing-file": 0, "?anchor-conflict": 0})
    yield case("logs that have begun, and no heads log yet", "open", {n: d for n, d in heads.items() if not n.startswith("anchors/")}, w, {})
    size_one = results.build(w.m, "open", [results.CellResult(1, None)], [None], [Counter()])
    yield case("results of the genesis of a cell that has published nothing", "open", nothing | {"results.json": size_one}, w, {"results-wrong": 10})


def _cancelled() -> Iterator[Case]:
    w = running()
    w.notice(b"\x02")
    made = lean(ended(w).finished("cancelled"))
    yield case("cancelled, and results of a size before the final head's", "cancelled", made | {"results.json": _results(w, "cancelled", 4)}, w, {"results-wrong": 10})
    w = running()
    before = lean(dict(w.finished("open")))
    w.notice(b"\x02")
    yield case("a cancel that no checkpoint covers yet", "open", before | {n: d for n, d in w.files.items() if n.startswith("heads/batches/")}, w, {})
    yield case("cancelled, and the final head is not anchored", "cancelled", {n: d for n, d in made.items() if n != "anchors/a/0"}, w, {"anchor-not-final": 0})


def case(why: str, state: str, files: dict[str, bytes], w: World, findings: dict[str, int]) -> Case:
    """Codes with a question mark may be reported besides."""
    return Case(why, state, files, w.m.election.hex(), {c: v for c, v in findings.items() if c[0] != "?"}, [c[1:] for c in findings if c[0] == "?"])


def _cases() -> Iterator[Case]:
    for group in (_honest, _times, _heads, _entries):
        for why, state, w, findings in group():
            files = lean(w.finished(state))
            if not w.m.witnesses:
                files = {n: d for n, d in files.items() if "/cosigned/" not in n}
            yield case(why, state, files, w, findings)
    w = head_with(running(0 + 3), put(10, u(2)))
    files = {n: d for n, d in lean(w.finished("open")).items() if "/cosigned/" not in n}
    files["cells/0/checkpoints/2"] = files["cells/0/checkpoints/1"]
    yield case("another checkpoint by the name of a size that a head names, where no batch ends", "open", files, w, {"head-falls": 3, "?head-size": 0, "checkpoint-place": 10})
    w = running()
    w.cast(OPENING + 4000, ("v7", (1,)))
    files = lean(w.finished("open"))
    yield case("results.json of a moment before", "open", files | {"results.json": _results(w, "open", 4)}, w, {})
    size = w.cell.tree.size
    stale = {"results.json": _results(w, "open", size, of=4)}
    yield case("results.json with the proof of an earlier tally", "open", files | stale, w, {"results-wrong": 10})
    yield case("results.json of no batch's end", "open", files | {"results.json": _results(w, "open", 4).replace(b'"size":4', b'"size":5')}, w, {"results-wrong": 10})
    # While open, results.json at the newest checkpoint; what lies beyond it is not part of the log.
    w = running()
    files = dict(lean(w.finished("open")))
    w.cast(OPENING + 4000, ("v7", (1,)))
    beyond = {n: d for n, d in lean(w.files).items() if n.startswith("cells/0/")}
    files |= {n: d for n, d in beyond.items() if "/batches/" in n}
    yield case("a batch without its checkpoint: written just now", "open", dict(files), w, {})
    files |= {n: d for n, d in beyond.items() if n != "cells/0/checkpoint"}
    yield case("a batch with all but `checkpoint`", "open", dict(files), w, {})
    files = {n: d for n, d in files.items() if n != "cells/0/batches/2" and not n.endswith(f".p/{w.cell.tree.size}")}
    yield case("a checkpoint beyond all batches", "open", files, w, {"checkpoint-rollback": 10})
    w = running()
    w.cast(OPENING + 3500, ("v6", (1,)))
    w.cell.switched = w.cell.tree.size
    w.notice(b"\x04" + w.cell.log.bytes + u(w.cell.tree.size) + bytes(32))
    w.cast(OPENING + 4000, ("v7", (1,)))
    w.head(OPENING + 5000)
    files = lean(w.finished("open"))
    files["cells/0/batches/3"] = flipped(files["cells/0/batches/3"])
    yield case("a switch to another root, and a log that cannot be followed to its end", "open", files, w, {
        "notice-invalid": 10, "batch-chain": 10, "?results-wrong": 0})
    w = running()
    made = w.finished("open")
    size = w.cell.tree.size
    made[f"cells/0/checkpoints/{size}"] = made["cells/0/checkpoint"] = w.cell.note(size, w.cell.tree.root(), True)
    yield case("a checkpoint by the spare key without a notice", "open", lean(made), w, {"checkpoint-signature": 10, "?results-wrong": 0})
    w = ended(running())
    made = dict(w.finished("open"))
    yield case("results.json that still says open", "final", lean(made), w, {"results-not-final": 10})
    yield from _beginnings()
    yield from _cancelled()
    w = ended(running())
    base = lean(w.finished("final"))
    for why, change, findings in _file_changes(w):
        files = dict(base)
        change(files)
        yield case(why, "final", files, w, findings)


def document() -> dict[str, object]:
    blobs: dict[bytes, int] = {}
    cases = []
    for c in _cases():
        files = {name: blobs.setdefault(data, len(blobs)) for name, data in sorted(c.files.items())}
        cases.append({"also": c.also, "election": c.election, "files": files, "findings": [{"code": k, "votes": v} for k, v in c.findings.items()],
                      "state": c.state, "why": c.why})
    about = ("Small published trees, and the findings that every audit must come to (specs/protocol.md, section 16): these codes, none other but those "
             "of `also`; `votes` is the largest of a code's findings. `files` names the blobs (base64). Keys follow from labels: never use them.")
    return {"about": about, "blobs": [base64.b64encode(data).decode() for data in blobs], "cases": cases, "format": "tallyroot/v1/vectors/trees"}


def text() -> str:
    made = document()
    blobs = ",\n".join(json.dumps(b) for b in made["blobs"])  # type: ignore[attr-defined]
    cases = ",\n".join(json.dumps(c, ensure_ascii=False, sort_keys=True) for c in made["cases"])  # type: ignore[attr-defined]
    return (f'{{"format": "tallyroot/v1/vectors/trees",\n"about": {json.dumps(made["about"])},\n"blobs": [\n{blobs}\n],\n"cases": [\n{cases}\n]}}\n')


if __name__ == "__main__":
    FILE.write_text(text())
