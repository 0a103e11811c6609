"""Split-view and dispute files with what every verifier must say of them: specs/vectors/evidence.json.

An operator who holds every key keeps two histories, and signs what he likes. What a case must answer is written down beside it.
`python3 -m tests.evidence` writes the file; the tests compare it with what is made now.
"""
from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tallyroot_reference import canonical, merkle, notes

from .builder import CLOSING, World, key, public, u
from .histories import (FILL, Doc, History, b64, bad_notes, body, flip, forged, forms, histories, line, long_note, proofs, strangers, with_body,
                        without)

FILE = Path(__file__).resolve().parents[2] / "vectors" / "evidence.json"
EXIT = {"invalid-receipt": 1, "not-shown": 2, "rolled-back": 2, "held": 0, "covered": 0, "counted": 0, "dropped": 1, "split-view": 1}


@dataclass
class Case:
    why: str
    kind: str
    election: str
    file: str
    verdict: Doc | None
    error: str | None
    exit_code: int = 2  # of a command that judges the file
    fill: tuple[str, int] | None = None


def document_of(m: Doc, **change: object) -> str:
    return canonical.encode({**m, **change}).decode()


def _filled(case: Case, fill: tuple[str, int]) -> Case:
    case.fill = fill
    return case


def split_views() -> Iterator[Case]:
    a, b = histories()
    election = a.m.election.hex()

    def split(older: str, newer: str, way: Doc) -> Doc:
        return {"election": election, "format": "tallyroot/v1/split-view", "manifest": a.manifest.decode(), "newer": newer, "older": older, **way}

    def good(why: str, doc: Doc, log: str, older: int, newer: int) -> Case:
        return Case(why, "split-view", election, document_of(doc), {"log": log, "newer": str(newer), "older": str(older)}, None, 1)

    def bad(why: str, text: Doc | str, error: str, asked: str = election) -> Case:
        return Case(why, "split-view", asked, text if isinstance(text, str) else document_of(text), None, error)

    base = split(a.checkpoint(a.cell, 6), b.checkpoint(b.cell, 9), b.way(b.cell, 6, 9))
    same = split(a.checkpoint(a.cell, 6), b.checkpoint(b.cell, 6), b.way(b.cell, 6, 6))
    yield good("two sizes of a cell", base, "cells/0", 6, 9)
    yield good("two roots of one size: no proof", same, "cells/0", 6, 6)
    yield good("the same the other way round", split(b.checkpoint(b.cell, 6), a.checkpoint(a.cell, 6), a.way(a.cell, 6, 6)), "cells/0", 6, 6)
    other = b64(bytes(32))
    yield good("an older size that is a power of two",
               split(a.cell.note(4, bytes(32), False).decode(), b.checkpoint(b.cell, 9), b.way(b.cell, 4, 9)), "cells/0", 4, 9)
    yield good("an older size of 1: two first entries",
               split(a.cell.note(1, bytes(32), False).decode(), b.checkpoint(b.cell, 9), b.way(b.cell, 1, 9)), "cells/0", 1, 9)
    yield good("the older one by the spare key", {**base, "older": a.checkpoint(a.cell, 6, True)}, "cells/0", 6, 9)
    yield good("the newer one by the spare key", {**base, "newer": b.checkpoint(b.cell, 9, True)}, "cells/0", 6, 9)
    yield good("both by the spare key",
               {**base, "older": a.checkpoint(a.cell, 6, True), "newer": b.checkpoint(b.cell, 9, True)}, "cells/0", 6, 9)
    for publisher, size in ((a.second, 1), (a.shard, 6), (a.heads, 3)):
        false = publisher.note(size, bytes(32), False).decode()
        yield good(f"of {publisher.log.prefix}", split(false, a.checkpoint(publisher, size), a.way(publisher, size, size)),
                   publisher.log.prefix, size, size)
    yield good("of the heads log, two sizes", split(a.checkpoint(a.heads, 4), b.checkpoint(b.heads, 5), b.way(b.heads, 4, 5)), "heads", 4, 5)
    # Sizes of 64 bits: "below 2^63 leaves" has only the roots that a signer names.
    huge, leaf = 1 << 63, hashlib.sha256(b"leaf").digest()
    yield good("sizes of 64 bits",
               split(a.cell.note(huge, bytes(32), False).decode(),
                     a.cell.note(huge + 1, merkle.node_hash(b.root(6), leaf), False).decode(),
                     {"proof": [b64(leaf)], "root": b64(b.root(6))}), "cells/0", huge, huge + 1)
    top = (1 << 64) - 1
    yield good("the largest size", split(a.cell.note(top, bytes(32), False).decode(), a.cell.note(top, b.root(6), False).decode(),
                                         {"proof": [], "root": b64(b.root(6))}), "cells/0", top, top)
    # Lines that are not looked at.
    newer, text, origin = str(base["newer"]), body(str(base["newer"])), a.m.origin(a.cell.log)
    stranger = line("a.example", 1, "witness", b"another text")
    cosigned = line("w.example", 4, "witness", f"cosignature/v1\ntime 1\n{text}".encode(), u(1))
    nothing = f"\u2014 w.example {b64(notes.key_id('w.example', 4, public('witness')) + b'x')}\n"
    yield good("with a cosignature", {**base, "newer": newer + cosigned}, "cells/0", 6, 9)
    yield good("with a witness's line that does not verify", {**base, "newer": newer + nothing}, "cells/0", 6, 9)
    yield good("with one witness's line twice", {**base, "newer": newer + cosigned + cosigned}, "cells/0", 6, 9)
    yield good("with a stranger's line in front of the log's", {**base, "newer": f"{text}\n{stranger}" + newer.split("\n\n")[1]}, "cells/0", 6, 9)
    yield _filled(good("with 99 other lines", {**base, "newer": newer + FILL}, "cells/0", 6, 9), strangers(99))
    yield _filled(bad("with 100 other lines", {**base, "newer": newer + FILL}, "note"), strangers(100))
    for name in ("older", "newer"):
        for more in (0, 1):
            note, fill = long_note(str(base[name]), (64 << 10) + more)
            doc = {**base, name: note}
            yield _filled(bad(f"{name}: longer than 64 KiB", doc, "note") if more else good(f"{name}: 64 KiB", doc, "cells/0", 6, 9), fill)
    both = newer + line(origin, 1, "cells/0 spare", text.encode())
    yield good("signed by both keys", {**base, "newer": both}, "cells/0", 6, 9)
    yield good("with a line in the log's name by no key of it", {**base, "newer": newer + line(origin, 1, "witness", text.encode())}, "cells/0", 6, 9)

    for why, file in forms(base):
        yield bad(why, file, "malformed")
    yield bad("a dispute's format", {**base, "format": "tallyroot/v1/dispute"}, "malformed")
    yield bad("asked about another election", base, "other-election", "ab" * 32)
    yield bad("its id is another election's", {**base, "election": "ab" * 32}, "other-election")
    yield bad("id and question are another election's", {**base, "election": "ab" * 32}, "manifest", "ab" * 32)
    yield bad("another election's manifest", {**base, "manifest": World().manifest.decode()}, "manifest")
    yield bad("without a manifest", {**base, "manifest": ""}, "manifest")
    yield _lawless(base)
    for name, w, publisher, size in (("older", a, a.cell, 6), ("newer", b, b.cell, 9)):
        for why, note in bad_notes(w, publisher, size):
            yield bad(f"{name}: {why}", {**base, name: note}, "note")
    # No file of more than 4 MiB could be one for other reasons: this one has a note that is none.
    room = (4 << 20) - len(document_of({**base, "older": ""}).encode())
    yield _filled(bad("4 MiB, of which most is a note that is none", {**base, "older": FILL}, "note"), ("x", room))
    yield _filled(bad("one byte more than 4 MiB", {**base, "older": FILL}, "malformed"), ("x", room + 1))
    yield bad("both forged", {**base, "older": forged(str(base["older"])), "newer": forged(str(base["newer"]))}, "note")
    # Of two logs: with a proof that would do.
    second = with_body(b, b.second, text.replace("cells/0", "cells/1"))
    yield bad("of two cells", {**base, "newer": second}, "note")
    yield bad("of a cell and the heads log", {**base, "newer": with_body(b, b.heads, text.replace("cells/0", "heads"))}, "note")
    for prefix in ("cells/2", "cells/00", "registrars/0/1", "registrars/1/0", "cells", ""):
        named = [str(base[n]).replace("cells/0", prefix) for n in ("older", "newer")]
        signed = [f"{body(n)}\n" + line(body(n).split("\n")[0], 1, "cells/0 main", body(n).encode()) for n in named]
        yield bad(f"of a log that the election lacks: {prefix or 'none'}", {**base, "older": signed[0], "newer": signed[1]}, "note")
    elsewhere = [body(str(base[n])).replace("x.example", "y.example") for n in ("older", "newer")]
    signed = [f"{n}\n" + line(n.split("\n")[0], 1, "cells/0 main", n.encode()) for n in elsewhere]
    yield bad("of another base", {**base, "older": signed[0], "newer": signed[1]}, "note")
    for why, change in proofs(base):
        yield bad(why, {**base, **change}, "proof")
    yield bad("newer and older changed over", {**base, "older": base["newer"], "newer": base["older"]}, "proof")
    yield bad("one size: a root that is not the newer one's", {**same, "root": flip(str(same["root"]))}, "proof")
    yield bad("one size: with a proof", {**same, "proof": [other]}, "proof")
    empty = hashlib.sha256(b"").digest()
    for why, way in (("", {"proof": [], "root": b64(empty)}), (", with a root that it cannot have", {"proof": [], "root": other}),
                     (", with a proof", {"proof": [other], "root": other}), (", the newer one's root", {"proof": [], "root": b64(b.root(9))})):
        yield bad(f"an older one of size 0{why}", {**base, "older": a.cell.note(0, empty, False).decode(), **way}, "older")
    yield bad("an older one of size 0 with a root", {**base, "older": a.cell.note(0, bytes(32), False).decode()}, "note")
    yield bad("both of size 0", split(a.cell.note(0, empty, False).decode(), a.cell.note(0, empty, True).decode(), {"proof": [], "root": other}), "older")
    # What one log can have.
    yield bad("one checkpoint twice", split(a.checkpoint(a.cell, 6), a.checkpoint(a.cell, 6), a.way(a.cell, 6, 6)), "consistent")
    yield bad("one size and root by both keys", split(a.checkpoint(a.cell, 6), a.checkpoint(a.cell, 6, True), a.way(a.cell, 6, 6)), "consistent")
    yield bad("two of one history", split(a.checkpoint(a.cell, 6), a.checkpoint(a.cell, 9), a.way(a.cell, 6, 9)), "consistent")
    yield bad("two of one history, from a power of two", split(a.checkpoint(a.cell, 4), a.checkpoint(a.cell, 9), a.way(a.cell, 4, 9)), "consistent")
    yield bad("what both histories have in common", split(a.checkpoint(a.cell, 4), b.checkpoint(b.cell, 9), b.way(b.cell, 4, 9)), "consistent")
    yield bad("a history with a false older root", split(a.checkpoint(a.cell, 6), a.checkpoint(a.cell, 9), {**a.way(a.cell, 6, 9), "root": other}), "proof")


def _lawless(base: Doc) -> Case:
    """A manifest that breaks a rule of section 2, under its own id, with everything else in order."""
    a, b = histories()
    m = {**json.loads(a.manifest), "batch_min": 0}
    text = canonical.encode(m).decode()
    election = hashlib.sha256(text.encode()).hexdigest()
    doc = {**base, "election": election, "manifest": text}
    for name in ("older", "newer"):
        told = body(str(base[name])).replace(a.m.election.hex(), election)
        doc[name] = f"{told}\n" + line(told.split("\n")[0], 1, "cells/0 main", told.encode())
    return Case("a manifest that breaks a rule", "split-view", election, document_of(doc), None, "manifest")


def disputes() -> Iterator[Case]:
    a, b = histories()
    election = a.m.election.hex()

    def made(receipt: Doc | str, ledger: Doc | None = None, heads: Doc | None = None, head: Doc | None = None) -> Doc:
        text = receipt if isinstance(receipt, str) else canonical.encode(receipt).decode()
        return {"election": election, "format": "tallyroot/v1/dispute", "head": head, "heads": heads, "ledger": ledger, "receipt": text}

    def good(why: str, ruling: str, doc: Doc, exit_code: int | None = None) -> Case:
        """`exit_code`: where an older checkpoint is shown beside the ruling."""
        code = 2 if ruling == "held" and doc["head"] is None else EXIT[ruling] if exit_code is None else exit_code
        older = exit_code is not None or ruling == "rolled-back"
        return Case(why, "dispute", election, document_of(doc), {"rolled_back": older, "ruling": ruling}, None, code)

    def bad(why: str, text: Doc | str, error: str, asked: str = election) -> Case:
        return Case(why, "dispute", asked, text if isinstance(text, str) else document_of(text), None, error)

    # The vote at 4 stands alone in its batch: 4 to 6. The one at 1 is in both histories.
    recorded, first, late = a.received(4, 6), a.received(1, 4), a.received(1, 9)
    sealed = a.received(4, 6, 3, 4)
    nothing: Doc = {"proof": [], "root": b64(bytes(32))}
    held, split = a.exhibit(a.cell, 6, 9), b.exhibit(b.cell, 6, 9)
    back = a.older(a.cell, 4)
    heads_held, heads_split, heads_back = a.exhibit(a.heads, 4, 5), b.exhibit(b.heads, 4, 5), a.older(a.heads, 3)
    covered, counted = (a.head_exhibit(9, a.way(a.cell, 6, 9), final) for final in (False, True))
    dropped = a.head_exhibit(4, a.way(a.cell, 4, 4), True)
    behind = a.head_exhibit(4, a.way(a.cell, 4, 4))
    forked, forked_final = (b.head_exhibit(9, b.way(b.cell, 6, 9), final) for final in (False, True))

    # invalid-receipt
    vote = str(recorded["vote"])
    yield good("a receipt with a forged checkpoint", "invalid-receipt", made({**recorded, "vote": forged(vote)}, held))
    yield good("a receipt of another cell", "invalid-receipt", made({**recorded, "cell": 1}, held))
    yield good("a receipt of another election", "invalid-receipt", made({**recorded, "election": "ab" * 32}, held))
    yield good("a receipt of a tally", "invalid-receipt", made(a.received(5, 6), held))
    yield good("a receipt without its quorum", "invalid-receipt", made(_uncosigned(sealed), held))
    yield good("a receipt that is no JSON", "invalid-receipt", made("x", held))
    yield good("a receipt that is empty", "invalid-receipt", made(""))
    yield good("a receipt in another spelling", "invalid-receipt", made(canonical.encode(recorded).decode() + "\n", held))
    yield good("an invalid receipt, and a forged note: not looked at", "invalid-receipt",
               made({**recorded, "vote": forged(vote)}, {**held, "checkpoint": forged(str(held["checkpoint"]))}))
    yield good("an invalid receipt, and proofs of nothing: not looked at", "invalid-receipt",
               made({**sealed, "cell": 1}, {**held, **nothing}, {**heads_held, **nothing}, {**covered, **nothing}))
    yield good("an invalid receipt, and a head that is none: not looked at", "invalid-receipt", made("x", None, None, {**covered, "head": "x"}))
    yield good("an invalid receipt without a head, and heads: not looked at", "invalid-receipt", made({**recorded, "cell": 1}, None, heads_held))
    # not-shown
    yield good("nothing is shown", "not-shown", made(recorded))
    yield good("nothing is shown of what is sealed", "not-shown", made(sealed))
    yield good("a head from before the vote", "not-shown", made(recorded, head=behind))
    yield good("a heads log that goes on", "not-shown", made(sealed, heads=heads_held))
    yield good("a heads log as it was", "not-shown", made(sealed, heads=a.exhibit(a.heads, 4, 4)))
    # rolled-back
    yield good("an older checkpoint of the cell", "rolled-back", made(recorded, back))
    yield good("the cell's genesis", "rolled-back", made(recorded, a.older(a.cell, 1)))
    yield good("a cell of size 0", "rolled-back", made(recorded, {"checkpoint": a.cell.note(0, merkle.EMPTY_ROOT, False).decode(), "proof": [],
                                                               "root": b64(merkle.EMPTY_ROOT)}))
    yield good("an older checkpoint of another history", "rolled-back", made(late, b.older(b.cell, 6)))
    yield good("an older checkpoint of the heads log", "rolled-back", made(sealed, heads=heads_back))
    yield good("older ones of both", "rolled-back", made(sealed, back, heads_back))
    yield good("an older checkpoint, and a head from before the vote", "rolled-back", made(recorded, back, head=behind))
    yield good("an older checkpoint by the spare key", "rolled-back", made(recorded, {**back, "checkpoint": a.checkpoint(a.cell, 4, True)}))
    # held
    yield good("the cell goes on", "held", made(recorded, held))
    yield good("the cell goes on from a power of two", "held", made(first, a.exhibit(a.cell, 4, 9)))
    yield good("the cell is as it was", "held", made(recorded, a.exhibit(a.cell, 6, 6)))
    yield good("the cell goes on by the spare key", "held", made(recorded, a.exhibit(a.cell, 6, 9, True)))
    newest = str(held["checkpoint"])
    stranger = line("a.example", 1, "witness", b"another text")
    yield good("with lines that are not looked at", "held",
               made(recorded, {**held, "checkpoint": f"{body(newest)}\n{stranger}{newest.split(chr(10) * 2)[1]}{stranger}"}))
    yield good("the cell goes on, the heads log too", "held", made(sealed, held, heads_held))
    yield good("the cell goes on, and an older checkpoint of the heads log", "held", made(sealed, held, heads_back), 2)
    yield good("the cell goes on, and a head from before the vote", "held", made(recorded, held, head=behind))
    # covered, counted
    for ruling, head in (("covered", covered), ("counted", counted)):
        final = ruling == "counted"
        yield good("a head behind the vote", ruling, made(recorded, head=head))
        yield good("a head at the checkpoint", ruling, made(recorded, head=a.head_exhibit(6, a.way(a.cell, 6, 6), final)))
        yield good("a head between the vote and the checkpoint", ruling, made(late, head=a.head_exhibit(6, a.way(a.cell, 6, 9), final)))
        yield good("a head between, at a power of two", ruling, made(late, head=a.head_exhibit(4, a.way(a.cell, 4, 9), final)))
        yield good("a head one entry behind the vote", ruling, made(recorded, head=a.head_exhibit(5, a.way(a.cell, 5, 6), final)))
        yield good("a head that calls the cell stale", ruling, made(recorded, head=a.head_exhibit(9, a.way(a.cell, 6, 9), final, state=1)))
        yield good("a head, and a cell that goes on", ruling, made(recorded, held, head=head))
        yield good("a head, and an older checkpoint", ruling, made(recorded, back, head=head), 2)
        yield good("a head, and everything of a sealed receipt", ruling, made(sealed, held, heads_held, head))
        entry = a.head_entry(9, CLOSING + 5000, final)
        yield good("a head under the spare key", ruling, made(recorded, head={**head, "head": a.signed_head(entry, spare=True)}))
    # dropped
    yield good("a final head that ends before the vote", "dropped", made(recorded, head=dropped))
    yield good("a final head that ends far before the vote", "dropped", made(recorded, head=a.head_exhibit(1, a.way(a.cell, 1, 1), True)))
    yield good("a final head that names size 0", "dropped", made(recorded, head=a.head_exhibit(
        0, {"proof": [], "root": b64(merkle.EMPTY_ROOT)}, True, root=merkle.EMPTY_ROOT)))
    yield good("a final head that calls the cell stale", "dropped", made(recorded, head=a.head_exhibit(4, a.way(a.cell, 4, 4), True, state=1)))
    yield good("a final head that ends before the vote, in another history", "dropped",
               made(a.received(7, 9), head=b.head_exhibit(6, b.way(b.cell, 6, 6), True)))
    yield good("dropped, and the cell goes on", "dropped", made(recorded, held, head=dropped))
    yield good("dropped, and an older checkpoint", "dropped", made(recorded, back, head=dropped), 1)
    # split-view
    yield good("the cell goes on from another root", "split-view", made(recorded, split))
    yield good("the cell has another root", "split-view", made(recorded, b.exhibit(b.cell, 6, 6)))
    yield good("the cell goes on from another root by the spare key", "split-view", made(recorded, b.exhibit(b.cell, 6, 9, True)))
    yield good("the heads log goes on from another root", "split-view", made(sealed, heads=heads_split))
    yield good("the heads log has another root", "split-view", made(sealed, heads=b.exhibit(b.heads, 4, 4)))
    yield good("the heads log goes on from another root, the cell from its own", "split-view", made(sealed, held, heads_split))
    yield good("the heads log goes on from another root, and an older checkpoint", "split-view", made(sealed, back, heads_split), 1)
    for what, head in (("head", forked), ("final head", forked_final)):
        yield good(f"a {what} of another history, behind the checkpoint", "split-view", made(recorded, head=head))
        final = what == "final head"
        yield good(f"a {what} of another history, at the checkpoint", "split-view", made(recorded, head=b.head_exhibit(6, a.way(a.cell, 6, 6), final)))
        yield good(f"a {what} of another history, before the checkpoint", "split-view",
                   made(late, head=b.head_exhibit(6, a.way(a.cell, 6, 9), final)))
        yield good(f"a {what} of another history, and a cell that goes on", "split-view", made(recorded, held, head=head))
    yield good("dropped, and another root", "split-view", made(recorded, split, head=dropped))
    yield good("counted, and another root", "split-view", made(recorded, split, head=counted))
    yield good("counted, and another root of the heads log", "split-view", made(sealed, None, heads_split, counted))

    # Files that prove nothing.
    whole = made(sealed, held, heads_held, counted)
    for why, file in forms(whole, "ledger"):
        if why not in ("`head` is a number", "`ledger` is a number", "`heads` is a number"):
            yield bad(why, file, "malformed")
    yield bad("a split view's format", {**whole, "format": "tallyroot/v1/split-view"}, "malformed")
    yield bad("asked about another election", whole, "other-election", "ab" * 32)
    yield bad("its id is another election's", {**whole, "election": "ab" * 32}, "other-election")
    yield bad("its id is another election's, and the receipt invalid", {**whole, "election": "ab" * 32, "receipt": "x"}, "other-election")
    for name in ("ledger", "heads", "head"):
        inner = whole[name]
        assert isinstance(inner, dict)
        for other_type in json.loads('[7, [], "x", {}, false]'):
            yield bad(f"`{name}` is {json.dumps(other_type)}", {**whole, name: other_type}, "malformed")
        yield bad(f"`{name}` has an unknown member", {**whole, name: {**inner, "age": 1}}, "malformed")
        for member in inner:
            yield bad(f"`{name}` has no `{member}`", {**whole, name: without(inner, member)}, "malformed")
            yield bad(f"`{name}.{member}` is null", {**whole, name: {**inner, member: None}}, "malformed")
        for why, change in proofs(inner):
            yield bad(f"`{name}`: {why}", {**whole, name: {**inner, **change}}, "proof")
        for value in ("", b64(bytes(31))):
            yield good(f"`{name}`: an invalid receipt, and a root of {len(value)} characters: not looked at", "invalid-receipt",
                       {**whole, "receipt": "x", name: {**inner, "root": value}})
        yield bad(f"`{name}`: an invalid receipt, and a number in the proof", {**whole, "receipt": "x", name: {**inner, "proof": [7]}}, "malformed")
    for name, publisher, size in (("ledger", a.cell, 9), ("heads", a.heads, 5)):
        inner = whole[name]
        assert isinstance(inner, dict)
        for why, note in bad_notes(a, publisher, size):
            yield bad(f"`{name}.checkpoint`: {why}", {**whole, name: {**inner, "checkpoint": note}}, "note")
    told = body(newest)
    yield bad("`ledger` of the other cell", {**whole, "ledger": {**held, "checkpoint": with_body(a, a.second, told.replace("cells/0", "cells/1"))}}, "note")
    yield bad("`ledger` of the heads log", {**whole, "ledger": heads_held}, "note")
    yield bad("`heads` of the cell", {**whole, "heads": held}, "note")
    yield bad("`heads` for a receipt without a head", made(recorded, held, heads_held), "heads")
    for name, exhibit in (("ledger", back), ("heads", heads_back)):
        yield bad(f"`{name}`, older: another root", {**whole, name: {**exhibit, "root": flip(str(exhibit["root"]))}}, "proof")
        yield bad(f"`{name}`, older: a proof", {**whole, name: {**exhibit, "proof": [b64(bytes(32))]}}, "proof")
        yield bad(f"`{name}`, older: forged", {**whole, name: {**exhibit, "checkpoint": forged(str(exhibit["checkpoint"]))}}, "note")
    yield bad("`ledger` at one size: a proof", made(recorded, {**a.exhibit(a.cell, 6, 6), "proof": [b64(bytes(32))]}), "proof")
    yield bad("`ledger` at one size: another root", made(recorded, {**a.exhibit(a.cell, 6, 6), "root": b64(bytes(32))}), "proof")
    for more in (0, 1):
        note, fill = long_note(newest, (64 << 10) + more)
        doc = made(recorded, {**held, "checkpoint": note})
        yield _filled(bad("`ledger.checkpoint`: longer than 64 KiB", doc, "note") if more else good("`ledger.checkpoint`: 64 KiB", "held", doc), fill)
    # The head.
    for why, text, error in _bad_heads(a):
        yield bad(f"`head.head`: {why}", {**whole, "head": {**counted, "head": text}}, error)
    for what, exhibit in (("dropped", dropped), ("a head before the vote", behind)):
        yield bad(f"{what}: another root", made(recorded, head={**exhibit, "root": b64(a.root(6))}), "proof")
        yield bad(f"{what}: a proof", made(recorded, head={**exhibit, **a.way(a.cell, 4, 6)}), "proof")
    between = a.head_exhibit(6, a.way(a.cell, 6, 9))
    yield bad("a head between: the proof from the receipt's root to the head's", made(late, head={**between, "proof": [], "root": b64(a.root(9))}), "proof")
    yield bad("a head between: another root", made(late, head={**between, "root": b64(b.root(6))}), "proof")
    yield bad("a head behind: the proof to another history's root", made(recorded, head={**covered, **b.way(b.cell, 6, 9)}), "proof")
    yield bad("a head at the checkpoint, of another history: the head's root",
              made(recorded, head=b.head_exhibit(6, b.way(b.cell, 6, 6))), "proof")
    # One part that does not verify spoils the others.
    yield bad("another root in the ledger, and a forged head", made(recorded, split, head={**counted, "head": forged(str(counted["head"]))}), "note")
    yield bad("a forged checkpoint in the ledger, and a head that drops", made(recorded, {**held, "checkpoint": forged(newest)}, head=dropped), "note")
    # Lengths: a receipt that is none, in a file of 16 MiB and of one byte more.
    room = (16 << 20) - len(document_of(made("")).encode())
    yield _filled(good("16 MiB", "invalid-receipt", made(FILL)), ("x", room))
    yield _filled(bad("one byte more than 16 MiB", made(FILL), "malformed"), ("x", room + 1))


def _uncosigned(sealed: Doc) -> Doc:
    final = sealed["final"]
    assert isinstance(final, dict)
    head = "\n".join(each for each in final["head"].split("\n") if not each.startswith("\u2014 w.example"))
    return {**sealed, "final": {**final, "head": head}}


def _bad_heads(w: History) -> Iterator[tuple[str, str, str]]:
    entry = w.head_entry(9, CLOSING + 5000, True)
    good = w.signed_head(entry)
    first, rest = good.split("\n", 1)
    extra, index, tail = rest.split("\n", 2)
    yield "nothing", "", "head"
    yield "of another kind", good.replace("@v1", "@v2"), "head"
    yield "without its entry", "\n".join([first, index, tail]), "head"
    yield "another place", "\n".join([first, extra, "index 4", tail]), "head"
    yield "beyond the checkpoint", "\n".join([first, extra, "index 6", tail]), "head"
    yield "one hash less", "\n".join([first, extra, index, tail.split("\n", 1)[1]]), "head"
    yield "another entry", good.replace(extra, f"extra {b64(w.head_entry(9, CLOSING + 5001, True))}"), "head"
    yield "a forged checkpoint", forged(good), "note"
    yield "a notice", w.signed_head(_notice(w)), "head"
    yield "the genesis", w.signed_head(w.entries[w.heads.log][0]), "head"
    yield "a vote", w.signed_head(w.entries[w.cell.log][1]), "head"
    yield "a head with a byte more", w.signed_head(entry + b"x"), "head"
    yield "a head that is cut", w.signed_head(entry[:-1]), "head"
    yield "a head that names a state that there is not", w.signed_head(w.head_entry(9, CLOSING + 5000, True, state=3)), "head"
    log = [*w.entries[w.heads.log], entry]
    tree = merkle.CompactRange()
    for each in log:
        tree.append(merkle.leaf_hash(each))
    told = body(w.heads.note(len(log), tree.root(), False).decode())
    yield "under a checkpoint of a cell", w.signed_head(entry, note=with_body(w, w.cell, told.replace("heads", "cells/0"))), "note"
    yield "under a checkpoint that a cell's key signed", w.signed_head(entry, note=with_body(w, w.heads, told, "cells/0 main")), "note"


def _notice(w: World) -> bytes:
    whole = b"\x02" + u(0, 4)
    return b"\x08\0" + key("authority main").sign(b"tallyroot/v1/notice\0" + w.m.election + b"\0" + whole) + whole


def cases() -> list[Case]:
    return [*split_views(), *disputes()]


def shared() -> list[str]:
    """What many files hold, as it is spelled there: the longest first."""
    a, _ = histories()
    receipts = [canonical.encode(r).decode() for r in (a.received(4, 6, 3, 4), a.received(4, 6))]
    manifest = json.dumps(a.manifest.decode(), ensure_ascii=False)[1:-1]
    return [*(json.dumps(r, ensure_ascii=False)[1:-1] for r in receipts), json.dumps(manifest, ensure_ascii=False)[1:-1], manifest]


def document() -> dict[str, object]:
    about = ("Split-view and dispute files, and what they prove (specs/protocol.md, section 17); `election` is the id that the verifier is asked about. "
             "In a `file`, `~0` stands for the first of `texts`, and so on; `~x` for the text in `fill`, so many times. "
             "`valid`, `verdict` and `exit`, the exit code of a command that judges the file offline, are binding; `error` is the reference verifier's name for what is wrong. Keys follow from labels: never use them.")
    made, texts = [], shared()
    for c in cases():
        file = c.file
        assert "~" not in file.replace(FILL, "") and (FILL in file) == (c.fill is not None)
        for i, each in enumerate(texts):
            file = file.replace(each, f"~{i}")
        case: Doc = {"election": c.election, "error": c.error, "exit": c.exit_code, "file": file, "kind": c.kind, "valid": c.error is None, "verdict": c.verdict, "why": c.why}
        made.append(case | ({"fill": list(c.fill)} if c.fill else {}))
    return {"about": about, "cases": made, "format": "tallyroot/v1/vectors/evidence", "texts": texts}


def text() -> str:
    made = document()
    rows = {name: ",\n".join(json.dumps(each, ensure_ascii=False, sort_keys=True) for each in made[name])  # type: ignore[attr-defined]
            for name in ("texts", "cases")}
    return (f'{{"format": {json.dumps(made["format"])},\n"about": {json.dumps(made["about"])},\n"texts": [\n{rows["texts"]}\n],\n'
            f'"cases": [\n{rows["cases"]}\n]}}\n')


if __name__ == "__main__":
    FILE.write_text(text())
