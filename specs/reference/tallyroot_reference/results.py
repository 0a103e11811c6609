"""Section 12: results.json, byte for byte. Vectors: results.json."""
from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from . import counting, notes
from .canonical import array, decode, encode, hex32, integer, members, string
from .entries import Tally
from .errors import Invalid
from .manifest import Manifest

MAX_RESULTS = 256 << 20
_MAX = 2**53 - 1


@dataclass(frozen=True)
class CellResult:
    size: int
    proof: str | None


def build(m: Manifest, status: str, cells: list[CellResult], tallies: list[Tally | None],
          rankings: list[Counter[tuple[int, ...]]]) -> bytes:
    """The one document that follows from the tallies at the cells' sizes and, when final, the ranked ballots below them."""
    known = [t for t in tallies if t]
    contests = []
    for c, contest in enumerate(m.contests):
        # "Sums are over the cells."
        blanks = sum(t.contests[c][0] for t in known)
        counts = [sum(t.contests[c][1][i] for t in known) for i in range(len(contest.options))]
        rounds, tie, winner = None, None, None
        # "Until `final`, and where the heads log holds a cancel notice (`cancelled`), `rounds`, `tie_broken` and `winner` are null."
        if status == "final" and contest.method == "ranked":
            # "A ranked contest's `tie_broken` says whether any round's is true."
            played, winner = counting.run_off(len(contest.options), rankings[c].items(), contest.tie_rule)
            rounds, tie = [r.as_dict() for r in played], any(r.tie_broken for r in played)
        elif status == "final":
            winner, tie = counting.most(counts)
        contests.append({"blanks": blanks, "counts": counts, "name": contest.name, "options": list(contest.options), "rounds": rounds,
                         "tie_broken": tie, "winner": winner})
    return encode({"abstentions": sum(t.abstentions for t in known),
                   "cells": [{"cell": k, "proof": cell.proof, "size": cell.size} for k, cell in enumerate(cells)],
                   "contests": contests, "election": m.election.hex(), "format": "tallyroot/v1/results", "status": status,
                   "votes": sum(t.votes for t in known)})


def parse(data: bytes, m: Manifest) -> tuple[str, list[CellResult]]:
    """Status and cells of a document that contradicts neither the manifest nor itself."""
    if len(data) > MAX_RESULTS:
        raise Invalid("malformed", "longer than is read")
    doc = members(decode(data), {"abstentions", "cells", "contests", "election", "format", "status", "votes"}, "results")
    if doc["format"] != "tallyroot/v1/results" or hex32(doc["election"], "election") != m.election:
        raise Invalid("malformed", "another format or election")
    status = string(doc["status"], "status")
    if status not in ("open", "final", "cancelled"):
        raise Invalid("malformed", "an unknown status")
    votes = integer(doc["votes"], 0, _MAX, "votes")
    abstentions = integer(doc["abstentions"], 0, votes, "abstentions")
    cells = []
    for k, value in enumerate(array(doc["cells"], len(m.cells), len(m.cells), "cells")):
        cell = members(value, {"cell", "proof", "size"}, "cell")
        size = integer(cell["size"], 0, _MAX, "size")
        proof = None if cell["proof"] is None else string(cell["proof"], "proof")
        # the genesis, a vote and its tally: no tally stands in a log of fewer entries
        # "at least 1 when `final`"
        if size == 0 and status == "final":
            raise Invalid("malformed", f"cells[{k}]: a final size of 0")
        if proof is None and size > 2:
            raise Invalid("malformed", f"cells[{k}]: a size that has a tally, and no proof of it")
        if cell["cell"] is True or cell["cell"] != k or (proof is not None and (size < 3 or notes.parse_proof(proof).index >= size)):
            raise Invalid("malformed", f"cells[{k}]")
        cells.append(CellResult(size, proof))
    for contest, value in zip(m.contests, array(doc["contests"], len(m.contests), len(m.contests), "contests")):
        _contest(contest.method, list(contest.options), contest.name, value, status, votes, abstentions)
    return status, cells


def _contest(method: str, options: list[str], name: str, value: object, status: str, votes: int, abstentions: int) -> None:
    c = members(value, {"blanks", "counts", "name", "options", "rounds", "tie_broken", "winner"}, "contest")
    if c["name"] != name or c["options"] != options:
        raise Invalid("malformed", "another name or other options than the manifest's")
    blanks = integer(c["blanks"], abstentions, votes, "blanks")
    counts = [integer(n, 0, votes - blanks, "counts") for n in array(c["counts"], len(options), len(options), "counts")]
    if method == "approval" and sum(counts) < votes - blanks or method != "approval" and sum(counts) != votes - blanks:
        raise Invalid("malformed", "counts that contradict the votes")
    if status != "final":
        if any(c[n] is not None for n in ("rounds", "tie_broken", "winner")):
            raise Invalid("malformed", "says who wins, and is not final")
        return
    if not isinstance(c["tie_broken"], bool):
        raise Invalid("malformed", "tie_broken")
    if c["winner"] is not None:
        integer(c["winner"], 0, len(options) - 1, "winner")
    # "`rounds` is the run-off for ranked contests and null for others"
    if method != "ranked":
        if c["rounds"] is not None:
            raise Invalid("malformed", "rounds in a contest that is not ranked")
        return
    for value in array(c["rounds"], 1, len(options), "rounds"):
        r = members(value, {"counts", "eliminated", "exhausted", "tie_broken"}, "round")
        for n in array(r["counts"], len(options), len(options), "round counts"):
            if n is not None:
                integer(n, 0, votes, "round counts")
        if r["eliminated"] is not None:
            integer(r["eliminated"], 0, len(options) - 1, "eliminated")
        integer(r["exhausted"], 0, votes, "exhausted")
        if not isinstance(r["tie_broken"], bool):
            raise Invalid("malformed", "tie_broken of a round")
