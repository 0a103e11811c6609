"""Section 17: files that convince a third party who holds nothing but the election id. Vectors: evidence.json."""
from __future__ import annotations

import hashlib
from dataclasses import dataclass

from . import entries as e
from . import manifest as mf
from . import merkle, notes, receipts
from .canonical import array, base64_decode, decode, hex32, members, string
from .errors import Invalid
from .manifest import CELL, HEADS, LogId, Manifest

MAX_SPLIT_VIEW = 4 << 20
MAX_DISPUTE = 16 << 20
_HEADS = LogId(HEADS, 0, 0)


def _hash(value: object, what: str) -> bytes:
    data = base64_decode(string(value, what), what)
    if len(data) != 32:
        raise Invalid("malformed", f"{what}: a hash that has not 32 bytes")
    return data


@dataclass(frozen=True)
class _Way:
    """`root`, and the `proof` that leads from it to where it is compared. What their texts hold is looked at when they are."""

    root: str
    proof: list[str]

    @staticmethod
    def parse(value: dict[str, object], what: str) -> _Way:
        return _Way(string(value["root"], what), [string(h, what) for h in array(value["proof"], 0, 1 << 23, what)])

    def leads(self, size: int, to_size: int, to_root: bytes, what: str) -> bytes:
        """The root, where the proof leads from it to that size and root."""
        root = _hash(self.root, what)
        if not merkle.verify_consistency(size, root, to_size, to_root, [_hash(h, what) for h in self.proof]):
            raise Invalid("proof", f"{what}: the proof does not lead from size {size} to size {to_size}")
        return root

    def stays(self, root: bytes, what: str) -> None:
        """"`root` is its own root and `proof` is empty" """
        if _hash(self.root, what) != root or self.proof:
            raise Invalid("proof", f"{what}: another root, or a proof where there is none to give")


def _note(m: Manifest, logs: tuple[LogId, ...], text: str, what: str) -> tuple[LogId, notes.Checkpoint]:
    """"a signed note that names a checkpoint of a log of the election (section 4), with any signature lines" """
    try:
        note = notes.parse_note(text.encode())
        origin = note.text.split("\n")[0]
        for log in logs:
            if origin == m.origin(log):
                return log, notes.parse_signed(note, origin, m.keys_of(log))
    except Invalid as error:
        raise Invalid("note", f"{what}: {error.text}") from None
    raise Invalid("note", f"{what}: of no log that it may be of")


def split_view(data: bytes, election: bytes) -> dict[str, object]:
    """What a split-view file proves. Raises `Invalid` where it proves nothing."""
    if len(data) > MAX_SPLIT_VIEW:
        raise Invalid("malformed", "longer than 4 MiB")
    doc = members(decode(data), {"election", "format", "manifest", "newer", "older", "proof", "root"}, "split view")
    if doc["format"] != "tallyroot/v1/split-view":
        raise Invalid("malformed", "another format")
    claimed = hex32(doc["election"], "election")
    text = string(doc["manifest"], "manifest").encode()
    older_text, newer_text = string(doc["older"], "older"), string(doc["newer"], "newer")
    way = _Way.parse(doc, "split view")
    # "`H(manifest) = election` = the id that it was given; the manifest"
    if claimed != election:
        raise Invalid("other-election", "of another election")
    if hashlib.sha256(text).digest() != election:
        raise Invalid("manifest", "the manifest is not the election's")
    try:
        m = mf.parse(text)
    except Invalid as error:
        raise Invalid("manifest", error.text) from None
    # "both notes, of one log"
    log, older = _note(m, (*m.logs, _HEADS), older_text, "older")
    _, newer = _note(m, (log,), newer_text, "newer")
    # "`older`'s size is at least 1"
    if older.size < 1:
        raise Invalid("older", "of size 0, of which every log is a continuation")
    # "`proof` is an RFC 6962 consistency proof from (`older`'s size, `root`) to `newer`'s size and root, empty where the sizes are equal"
    root = way.leads(older.size, newer.size, newer.root, "split view")
    # "`root` is not `older`'s root"
    if root == older.root:
        raise Invalid("consistent", "one log can have both checkpoints")
    return {"log": log.prefix, "newer": newer.size, "older": older.size}


@dataclass(frozen=True)
class _Exhibit:
    """A newest checkpoint, and how it goes on from one of the receipt's."""

    checkpoint: str
    way: _Way

    @staticmethod
    def parse(value: object, what: str) -> _Exhibit | None:
        if value is None:
            return None
        doc = members(value, {"checkpoint", "proof", "root"}, what)
        return _Exhibit(string(doc["checkpoint"], what), _Way.parse(doc, what))

    def judge(self, m: Manifest, log: LogId, known: notes.Checkpoint, what: str) -> str:
        """"If *p* < *s*, `root` is its own root and `proof` is empty. Otherwise `proof` is a consistency proof from (*s*, `root`) to it." """
        _, shown = _note(m, (log,), self.checkpoint, what)
        if shown.size < known.size:
            self.way.stays(shown.root, what)
            return "rolled-back"
        root = self.way.leads(known.size, shown.size, shown.root, what)
        return "held" if root == known.root else "split-view"


@dataclass(frozen=True)
class _HeadExhibit:
    """A head, and how the cell at the head's size belongs together with the receipt's checkpoint."""

    head: str
    way: _Way

    @staticmethod
    def parse(value: object) -> _HeadExhibit | None:
        if value is None:
            return None
        doc = members(value, {"head", "proof", "root"}, "head")
        return _HeadExhibit(string(doc["head"], "head"), _Way.parse(doc, "head"))

    def _head(self, m: Manifest) -> e.Head:
        """"`head.head` is the `.tlog-proof` of a head or final head (as `extra`) under a note of the heads log" """
        try:
            proof = notes.parse_proof(self.head)
            if proof.extra is None:
                raise Invalid("head", "a proof without its entry")
            head = e.parse(proof.extra, m)
        except Invalid as error:
            raise Invalid("head", error.text) from None
        if not isinstance(head, e.Head):
            raise Invalid("head", "the entry is no head")
        _, heads = _note(m, (_HEADS,), proof.checkpoint, "head")
        if not merkle.verify_inclusion(merkle.leaf_hash(proof.extra), proof.index, heads.size, heads.root, list(proof.hashes)):
            raise Invalid("head", "the head is not in the heads log")
        return head

    def judge(self, m: Manifest, receipt: receipts.Receipt) -> str:
        head = self._head(m)
        named = head.logs[receipt.cell]
        known = receipt.checkpoint
        # "If *i* >= *h*, `root` is the cell's root in it and `proof` is empty."
        if receipt.index >= named.size:
            self.way.stays(named.root, "head")
            return "dropped" if head.final else "not-shown"
        # "Otherwise `proof` is a consistency proof from the smaller of *s* and *h* (where they are equal, the head's counts as the smaller), with
        # `root`, to the larger one with the root that the receipt or the head gives it."
        small, large = (named.size, named.root), (known.size, known.root)
        if small[0] > large[0]:
            small, large = large, small
        if self.way.leads(small[0], *large, "head") != small[1]:
            return "split-view"
        return "counted" if head.final else "covered"


# "Its ruling is the last of these that holds"
_RULINGS = ("not-shown", "rolled-back", "held", "covered", "counted", "dropped", "split-view")


def dispute(data: bytes, election: bytes) -> dict[str, object]:
    """A dispute file's ruling, and what each part of it shows. Raises `Invalid` where the file proves nothing."""
    if len(data) > MAX_DISPUTE:
        raise Invalid("malformed", "longer than 16 MiB")
    doc = members(decode(data), {"election", "format", "head", "heads", "ledger", "receipt"}, "dispute")
    if doc["format"] != "tallyroot/v1/dispute":
        raise Invalid("malformed", "another format")
    text = string(doc["receipt"], "receipt").encode()
    ledger, heads, head = _Exhibit.parse(doc["ledger"], "ledger"), _Exhibit.parse(doc["heads"], "heads"), _HeadExhibit.parse(doc["head"])
    if hex32(doc["election"], "election") != election:
        raise Invalid("other-election", "of another election")
    # "the receipt does not verify (section 13). Of the rest, the members, their JSON types, `format` and `election` are looked at, and nothing else"
    try:
        receipt = receipts.prove(text, election)
    except Invalid as error:
        return {"parts": {"receipt": f"{error.code}: {error.text}"}, "rolled_back": False, "ruling": "invalid-receipt"}
    m = receipt.manifest
    parts: dict[str, str] = {}
    if ledger is not None:
        parts["ledger"] = ledger.judge(m, LogId(CELL, receipt.cell, 0), receipt.checkpoint, "ledger")
    if heads is not None:
        # "`heads` is the same for the heads log and the checkpoint in the receipt's `final.head`; it must be null without one."
        if receipt.heads is None:
            raise Invalid("heads", "heads for a receipt that has no head")
        parts["heads"] = heads.judge(m, _HEADS, receipt.heads, "heads")
    if head is not None:
        parts["head"] = head.judge(m, receipt)
    # `held` speaks of the cell alone: a heads log that goes on shows nothing of the vote.
    holding = {said for part, said in parts.items() if (part, said) != ("heads", "held")} | {"not-shown"}
    return {"head_shown": head is not None, "parts": parts, "rolled_back": "rolled-back" in holding, "ruling": max(holding, key=_RULINGS.index)}


def exit_code(verdict: dict[str, object]) -> int:
    """"Exit code 1: a split view that verifies, `invalid-receipt`, `dropped`, `split-view`; 0: `held`, `covered`, `counted`; 2: what is undecided, not
    shown, or proves nothing." """
    ruling = verdict.get("ruling", "split-view")
    if ruling in ("invalid-receipt", "dropped", "split-view"):
        return 1
    # "takes a file that shows one, in `ledger` or `heads`, for undecided, also where the ruling is `held`, `covered` or `counted`"; "`held` is
    # undecided too where `head` is null"
    undecided = verdict["rolled_back"] or (ruling == "held" and not verdict["head_shown"])
    return 0 if ruling in ("held", "covered", "counted") and not undecided else 2
