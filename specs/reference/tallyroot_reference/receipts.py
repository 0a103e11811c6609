"""Section 13: what a receipt proves. Vectors: receipt.json."""
from __future__ import annotations

import hashlib
from dataclasses import dataclass

from . import entries as e
from . import manifest as mf
from . import merkle, notes
from .canonical import array, decode, hex32, integer, members, string
from .errors import Invalid
from .manifest import CELL, HEADS, LogId, Manifest

MAX_RECEIPT = 4 << 20
_KEYS = ("main", "spare")


@dataclass(frozen=True)
class Receipt:
    """A receipt that verifies."""

    manifest: Manifest
    cell: int
    index: int
    entry: bytes
    checkpoint: notes.Checkpoint  # of the cell, in `vote`
    heads: notes.Checkpoint | None  # of the heads log, in `final.head`
    verdict: dict[str, object]  # in the members of receipt.json's verdicts


class _Switches:
    """The notices of a receipt: above which size a log's checkpoints are signed by its spare."""

    def __init__(self) -> None:
        self.sizes: dict[LogId, int] = {}
        self.needed: set[LogId] = set()

    def judge(self, log: LogId, checkpoint: notes.Checkpoint, code: str, counts: bool = True) -> None:
        """"a checkpoint above a notice's size is signed by that log's spare, any other by its main key" """
        above = log in self.sizes and checkpoint.size > self.sizes[log]
        if checkpoint.key != (1 if above else 0):
            raise Invalid(code, f"a checkpoint of {log.prefix} by the wrong one of its keys")
        if above and counts:
            self.needed.add(log)


def _included(entry: bytes, proof: notes.Proof, checkpoint: notes.Checkpoint) -> bool:
    return merkle.verify_inclusion(merkle.leaf_hash(entry), proof.index, checkpoint.size, checkpoint.root, list(proof.hashes))


def _proof(text: str, code: str) -> tuple[notes.Proof, bytes]:
    try:
        proof = notes.parse_proof(text)
    except Invalid as error:
        raise Invalid(code, error.text) from None
    if proof.extra is None:
        raise Invalid(code, "a proof without its entry")
    return proof, proof.extra


def _plain(m: Manifest, log: LogId, proof: notes.Proof, code: str) -> notes.Checkpoint:
    try:
        return notes.parse_checkpoint(proof.checkpoint.encode(), m.origin(log), m.keys_of(log))
    except Invalid as error:
        raise Invalid(code, error.text) from None


def _cosigned(m: Manifest, proof: notes.Proof, code: str) -> notes.Checkpoint:
    """"under `cosigned/<size>` where witnesses are named and `checkpoints/<size>` otherwise" """
    heads = LogId(HEADS, 0, 0)
    try:
        return notes.parse_cosigned(proof.checkpoint.encode(), m.origin(heads), m.keys_of(heads), m.witnesses)
    except Invalid as error:
        raise Invalid(code, error.text) from None


def _read_switches(m: Manifest, cell: LogId, texts: list[str]) -> _Switches:
    """"`switches` holds the `.tlog-proof` of each switch notice (as `extra`) of a log of which a checkpoint in the receipt is signed by its
    spare: the cell's before the heads log's, none that is not needed." """
    heads = LogId(HEADS, 0, 0)
    switches = _Switches()
    checkpoints: list[tuple[LogId, notes.Checkpoint]] = []
    for text in texts:
        proof, data = _proof(text, "switch")
        try:
            notice = e.parse(data, m)
        except Invalid as error:
            raise Invalid("switch", error.text) from None
        if not isinstance(notice, e.Notice) or notice.kind != e.SWITCH or notice.log not in (cell, heads):
            raise Invalid("switch", "no switch of this cell or the heads log")
        if notice.log in switches.sizes or heads in switches.sizes:
            raise Invalid("switch", "one switch twice, or the heads log's before the cell's")
        if not e.notice_verifies(notice, m):
            raise Invalid("switch", "a switch that the authority did not sign")
        # Section 7: "its `size` is the index of the notice entry"
        if notice.log == heads and notice.size != proof.index:
            raise Invalid("switch", "a switch of the heads log that stands elsewhere than it says")
        # "the quorum is not asked of notices' checkpoints, and cosignatures of named witnesses may stand there"
        checkpoint = _cosigned(m, proof, "switch")
        if not _included(data, proof, checkpoint):
            raise Invalid("switch", "a switch that is not in the heads log")
        switches.sizes[notice.log] = notice.size
        checkpoints.append((notice.log, checkpoint))
    # "A switch of the heads log counts as needed for the checkpoints of other notices' proofs too, but not for its own"
    for log, checkpoint in checkpoints:
        switches.judge(heads, checkpoint, "switch", counts=log != heads)
    return switches


def verify(data: bytes, election: bytes) -> dict[str, object]:
    """What a receipt proves, in the members of receipt.json's verdicts."""
    return prove(data, election).verdict


def prove(data: bytes, election: bytes) -> Receipt:
    """"Provisional (*recorded*) without `final`; final (*sealed*) with it." Raises `Invalid` with the code of what is wrong."""
    if len(data) > MAX_RECEIPT:
        raise Invalid("malformed", "longer than 4 MiB")
    doc = members(decode(data), {"cell", "election", "final", "format", "manifest", "switches", "vote"}, "receipt")
    if doc["format"] != "tallyroot/v1/receipt":
        raise Invalid("malformed", "another format")
    k = integer(doc["cell"], 0, 2**53 - 1, "cell")
    claimed = hex32(doc["election"], "election")
    text = string(doc["manifest"], "manifest").encode()
    vote_text = string(doc["vote"], "vote")
    texts = [string(s, "switches") for s in array(doc["switches"], 0, 1000, "switches")]
    final = None if doc["final"] is None else members(doc["final"], {"head", "vote"}, "final")
    # "`H(manifest) = election` = the id that it was given; the manifest"
    if claimed != election:
        raise Invalid("other-election", "a receipt of another election")
    if hashlib.sha256(text).digest() != election:
        raise Invalid("manifest", "the manifest is not the election's")
    try:
        m = mf.parse(text)
    except Invalid as error:
        raise Invalid("manifest", error.text) from None
    # "the entry in `extra` decodes, is for this cell, and all its signatures verify"
    proof, entry = _proof(vote_text, "vote-proof")
    try:
        vote = e.parse(entry, m)
    except Invalid as error:
        raise Invalid("vote", error.text) from None
    if not isinstance(vote, e.Vote):
        raise Invalid("vote", "the entry is no vote")
    if m.cell_of(vote.credential) != k:
        raise Invalid("wrong-cell", "the vote is of another cell")
    fault = e.vote_fault(vote, m)
    if fault:
        raise Invalid("vote", fault[1])
    cell = LogId(CELL, k, 0)
    switches = _read_switches(m, cell, texts)
    # "both proofs lead from the entry's leaf hash to a checkpoint of this cell's origin and key"
    checkpoint = _plain(m, cell, proof, "vote-proof")
    switches.judge(cell, checkpoint, "vote-proof")
    if not _included(entry, proof, checkpoint):
        raise Invalid("vote-proof", "the proof does not lead to the checkpoint")
    heads, seal = None, None
    if final is not None:
        heads, seal = _seal(m, cell, switches, proof.index, entry, string(final["vote"], "final"), string(final["head"], "final"))
    if switches.needed != set(switches.sizes):
        raise Invalid("switch", "a switch that no checkpoint needs")
    choices = [[c.name, [c.options[i] for i in chosen]] for c, chosen in zip(m.contests, vote.choices)]
    verdict = {"cell": k, "choices": choices, "index": proof.index, "key": _KEYS[checkpoint.key], "seal": seal, "size": checkpoint.size}
    return Receipt(m, k, proof.index, entry, checkpoint, heads, verdict)


def _seal(m: Manifest, cell: LogId, switches: _Switches, index: int, entry: bytes, vote_text: str,
          head_text: str) -> tuple[notes.Checkpoint, dict[str, object]]:
    # "`final.vote` is the same vote's proof (with `extra`) under the checkpoint of the size that a head names"
    proof, extra = _proof(vote_text, "seal-proof")
    if extra != entry or proof.index != index:
        raise Invalid("seal-proof", "the seal is of another vote")
    under = _plain(m, cell, proof, "seal-proof")
    switches.judge(cell, under, "seal-proof")
    if not _included(entry, proof, under):
        raise Invalid("seal-proof", "the proof does not lead to the checkpoint")
    # "the head's proof, with at least `quorum` cosignatures of named witnesses"
    head_proof, head_data = _proof(head_text, "head-proof")
    heads = _cosigned(m, head_proof, "head-proof")
    switches.judge(LogId(HEADS, 0, 0), heads, "head-proof")
    if not _included(head_data, head_proof, heads):
        raise Invalid("head-proof", "the head is not in the heads log")
    try:
        head = e.parse(head_data, m)
    except Invalid as error:
        raise Invalid("head-proof", error.text) from None
    if not isinstance(head, e.Head):
        raise Invalid("head-proof", "the entry is no head")
    if len(heads.cosignatures) < m.quorum:
        raise Invalid("quorum", f"{len(heads.cosignatures)} cosignatures, and {m.quorum} are asked")
    # "the head's (size, root) for this cell equals `final.vote`'s checkpoint"
    state = head.logs[cell.a]
    if (state.size, state.root) != (under.size, under.root):
        raise Invalid("head-mismatch", "the head names another size or root of the cell")
    return heads, {"cell_key": _KEYS[under.key], "final_head": head.final, "head": head_proof.index, "heads_key": _KEYS[heads.key],
                   "heads_size": heads.size, "time": head.time, "witnesses": [[m.witnesses[i].name, t] for i, t in heads.cosignatures]}
