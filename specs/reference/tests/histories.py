"""Two signed histories of one election, and the parts of evidence that can be cut from them, right and wrong: for `tests.evidence`."""
from __future__ import annotations

import base64
import functools
import json
from collections.abc import Iterator

from tallyroot_reference import canonical, merkle, notes
from tallyroot_reference.manifest import CELL, LogId

from .builder import CLOSING, OPENING, Publisher, World, key, public, u

Doc = dict[str, object]
FILL = "~x"  # what is longer than a vector should be: `fill` says what stands for it, and how often


def subproof(tree: merkle.CompactRange, size: int, start: int, end: int, known: bool) -> list[bytes]:
    """RFC 6962, section 2.1.2."""
    if size == end - start:
        return [] if known else [tree.subtree(start, end)]
    k = 1 << (end - start - 1).bit_length() - 1
    if size <= k:
        return [*subproof(tree, size, start, start + k, known), tree.subtree(start + k, end)]
    return [*subproof(tree, size - k, start + k, end, False), tree.subtree(start, start + k)]


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


class History(World):
    """Two cells, of which the first has batch ends at 1, 4, 6 and 9; head n names the n-th of them."""

    ENDS = (1, 4, 6, 9)

    def __init__(self, voters: str) -> None:
        super().__init__(cells=2)
        self.second = Publisher(self, LogId(CELL, 1, 0))
        self.issue(*range(5))
        names = [n for n in (f"{voters[0]}{i}" for i in range(20)) if self.m.cell_of(public(n)) == 0][:2]
        rest = [n for n in (f"{voters[1]}{i}" for i in range(20)) if self.m.cell_of(public(n)) == 0][:3]
        for n, batch in enumerate([[], names, rest[:1], rest[1:]]):
            if batch:
                self.cast(OPENING + 1000 * n, *[(name, (i % 3,)) for i, name in enumerate(batch)])
            self.time = OPENING + 1000 * n
            self.heads.add([self.head_entry(self.cell.tree.size, self.time)])

    def root(self, size: int) -> bytes:
        return self.cell.tree.subtree(0, size)

    def head_entry(self, size: int, time: int, final: bool = False, state: int = 0, root: bytes | None = None) -> bytes:
        """A head that names this size of the first cell."""
        states = [u(state, 1) + u(size) + (self.root(size) if root is None else root)]
        states += [u(0, 1) + u(p.tree.size) + p.tree.root() for p in (self.second, self.shard)]
        return (b"\x09" if final else b"\x07") + u(time) + b"".join(states)

    def checkpoint(self, publisher: Publisher, size: int, spare: bool = False) -> str:
        return publisher.note(size, publisher.tree.subtree(0, size), spare).decode()

    def way(self, publisher: Publisher, old: int, new: int) -> Doc:
        """The root of a size, and the proof that leads from it to a later one."""
        tree = publisher.tree
        return {"proof": [b64(h) for h in subproof(tree, old, 0, new, True)], "root": b64(tree.subtree(0, old))}

    def exhibit(self, publisher: Publisher, old: int, new: int, spare: bool = False) -> Doc:
        return {"checkpoint": self.checkpoint(publisher, new, spare), **self.way(publisher, old, new)}

    def older(self, publisher: Publisher, size: int) -> Doc:
        """An exhibit of a checkpoint below the one that the receipt has."""
        return {"checkpoint": self.checkpoint(publisher, size), "proof": [], "root": b64(publisher.tree.subtree(0, size))}

    def signed_head(self, entry: bytes, spare: bool = False, note: str | None = None) -> str:
        """The `.tlog-proof` of an entry that the operator appends to the heads log."""
        tree = merkle.CompactRange()
        log = [*self.entries[self.heads.log], entry]
        for each in log:
            tree.append(merkle.leaf_hash(each))
        at = len(log) - 1
        text = self.heads.note(len(log), tree.root(), spare).decode() if note is None else note
        return notes.write_proof(entry, at, tree.inclusion(at, len(log)), text)

    def head_exhibit(self, size: int, way: Doc, final: bool = False, **entry: object) -> Doc:
        made = self.head_entry(size, CLOSING + 5000, final, **entry)  # type: ignore[arg-type]
        return {"head": self.signed_head(made), **way}

    def received(self, index: int, size: int, head: int | None = None, heads_size: int = 0) -> Doc:
        """The receipt of a vote under the checkpoint of `size`; sealed by a head where one is given."""
        def proof(publisher: Publisher, at: int, under: int, note: str) -> str:
            return notes.write_proof(self.entries[publisher.log][at], at, publisher.tree.inclusion(at, under), note)

        vote = proof(self.cell, index, size, self.checkpoint(self.cell, size))
        final = None
        if head is not None:
            named = self.ENDS[head - 1]
            cosigned = self.files[f"heads/cosigned/{heads_size}"].decode()
            final = {"head": proof(self.heads, head, heads_size, cosigned), "vote": proof(self.cell, index, named, self.checkpoint(self.cell, named))}
        return {"cell": 0, "election": self.m.election.hex(), "final": final, "format": "tallyroot/v1/receipt",
                "manifest": self.manifest.decode(), "switches": [], "vote": vote}


def line(name: str, kind: int, signer: str, message: bytes, prefix: bytes = b"") -> str:
    """A signature line of a note."""
    return f"\u2014 {name} {b64(notes.key_id(name, kind, public(signer)) + prefix + key(signer).sign(message))}\n"


def forged(note: str) -> str:
    """The note with one bit of its (last) signature changed."""
    start, _, last = note.rstrip("\n").rpartition(" ")
    blob = bytearray(base64.b64decode(last))
    blob[-40] ^= 1
    return f"{start} {b64(bytes(blob))}\n"


def with_body(w: World, publisher: Publisher, text: str, signer: str | None = None) -> str:
    """Any text, signed by the log's main key or another's."""
    origin = w.m.origin(publisher.log)
    return f"{text}\n" + line(origin, 1, signer or publisher.key_name(False), text.encode())


def body(note: str) -> str:
    return note.split("\n\n")[0] + "\n"


def without(doc: Doc, name: str) -> Doc:
    return {k: v for k, v in doc.items() if k != name}


def flip(text: str) -> str:
    data = bytearray(base64.b64decode(text))
    data[0] ^= 1
    return b64(bytes(data))


def forms(doc: Doc, way: str | None = None) -> Iterator[tuple[str, str]]:
    """One document, spelled in ways that no file may be spelled. `way` names the member that has `root` and `proof`."""
    good = canonical.encode(doc).decode()
    yield "white space", " " + good
    yield "a byte behind the document", good + "\n"
    yield "an unknown member", canonical.encode({**doc, "age": 1}).decode()
    for name in doc:
        yield f"without `{name}`", canonical.encode(without(doc, name)).decode()
        yield f"`{name}` is a number", canonical.encode({**doc, name: 7}).decode()
    yield "members in another order", json.dumps(dict(reversed(doc.items())), ensure_ascii=False, separators=(",", ":"))
    yield "a member twice", good.replace('{"election"', f'{{"election":"{doc["election"]}","election"', 1)
    yield "an election id in capitals", canonical.encode({**doc, "election": str(doc["election"]).upper()}).decode()
    yield "an election id that is cut", canonical.encode({**doc, "election": str(doc["election"])[:62]}).decode()
    yield "a later format", canonical.encode({**doc, "format": str(doc["format"]).replace("v1", "v2")}).decode()
    yield "a list", "[]"
    yield "nothing", ""
    at: Doc = doc if way is None else doc[way]  # type: ignore[assignment]
    root, proof = str(at["root"]), at["proof"]
    assert isinstance(proof, list) and proof
    changes: list[tuple[str, Doc]] = [
        ("a root of 31 bytes", {"root": b64(base64.b64decode(root)[1:])}), ("a root of 33 bytes", {"root": b64(base64.b64decode(root) + b"x")}),
        ("an empty root", {"root": ""}), ("a root without padding", {"root": root.rstrip("=")}), ("a root in hexadecimal", {"root": base64.b64decode(root).hex()}),
        ("a root with a bit set that base64 leaves unused", {"root": root[:-2] + chr(ord(root[-2]) + 1) + "="}),
        ("a proof that is one text", {"proof": "".join(proof)}), ("a null in the proof", {"proof": [*proof, None]}),
        ("a hash of 31 bytes in the proof", {"proof": [b64(base64.b64decode(proof[0])[1:]), *proof[1:]]}),
        ("a hash in the proof that is no base64", {"proof": ["-" + proof[0][1:], *proof[1:]]})]
    for why, change in changes:
        inner = {**at, **change}
        yield why, canonical.encode(inner if way is None else {**doc, way: inner}).decode()


def proofs(way: Doc) -> Iterator[tuple[str, Doc]]:
    """A root and its proof, with one thing wrong."""
    root, proof = str(way["root"]), way["proof"]
    assert isinstance(proof, list) and proof
    yield "another root", {"root": flip(root)}
    yield "another hash in the proof", {"proof": [flip(proof[0]), *proof[1:]]}
    yield "a last hash that is another", {"proof": [*proof[:-1], flip(proof[-1])]}
    yield "a proof that is one hash short", {"proof": proof[:-1]}
    yield "a proof that is one hash too long", {"proof": [*proof, proof[-1]]}
    yield "no proof", {"proof": []}


def strangers(number: int) -> tuple[str, int]:
    """So many signature lines that nobody looks at, as they are spelled in a JSON string."""
    return json.dumps(line("a.example", 1, "witness", b"another text"), ensure_ascii=False)[1:-1], number


def long_note(note: str, size: int) -> tuple[str, tuple[str, int]]:
    """The note with another line, so that it has `size` bytes."""
    for name in ("a.example", "aa.example", "aaa.example", "aaaa.example"):
        rest = size - len(f"{note}\u2014 {name} \n".encode())
        if rest % 4 == 0:
            return f"{note}\u2014 {name} {FILL}\n", ("AAAA", rest // 4)
    raise AssertionError


def bad_notes(w: History, publisher: Publisher, size: int) -> Iterator[tuple[str, str]]:
    """Notes of this log that prove nothing, though their size and root would."""
    good = w.checkpoint(publisher, size)
    text, origin = body(good), w.m.origin(publisher.log)
    yield "its signature is another", forged(good)
    yield "its root was changed after it was signed", good.replace(text.split("\n")[2], flip(text.split("\n")[2]))
    yield "signed by another log's key", with_body(w, publisher, text, "cells/1 main")
    yield "signed by the authority", with_body(w, publisher, text, "authority main")
    yield "cosigned by a witness, and not signed by the log", f"{text}\n" + line(
        "w.example", 4, "witness", f"cosignature/v1\ntime 1\n{text}".encode(), u(1))
    yield "signed by its key in another's name", f"{text}\n" + line(f"{origin}x", 1, publisher.key_name(False), text.encode())
    known = notes.key_id(origin, 1, public(publisher.key_name(False))) + key(publisher.key_name(False)).sign(text.encode())
    yield "signed by its key, with its key id, in another's name", f"{text}\n\u2014 {origin}x {b64(known)}\n"
    yield "signed with the type of a cosignature", f"{text}\n" + line(origin, 4, publisher.key_name(False), text.encode())
    yield "signed as a cosignature", f"{text}\n" + line(origin, 4, publisher.key_name(False), f"cosignature/v1\ntime 1\n{text}".encode(), u(1))
    yield "with an extension line", with_body(w, publisher, text + "extension\n")
    yield "a size with a leading zero", with_body(w, publisher, text.replace(f"\n{size}\n", f"\n0{size}\n"))
    yield "a root of 31 bytes", with_body(w, publisher, "\n".join([*text.split("\n")[:2], b64(bytes(31)), ""]))
    yield "no note at all", ""
    yield "without a signature line", text + "\n"
    yield "a line behind it that is none", good + "x\n"


@functools.cache
def histories() -> tuple[History, History]:
    """Two of one election, which part behind the first batch of votes."""
    return History("vw"), History("vx")
