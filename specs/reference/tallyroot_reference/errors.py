"""What can be wrong, and how it is said."""
from __future__ import annotations

from dataclasses import asdict, dataclass


class Invalid(Exception):
    """Bytes that the specification does not allow. `code` names the rule, `index` the entry where there is one."""

    def __init__(self, code: str, text: str, index: int | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.index = index


# Section 16: the finding's code for a rule that `grammar.json` names, in any log but the heads log where it says otherwise.
_RULES = {"batch-number": "batch-foreign", "malformed": "entry-malformed", "genesis": "genesis-wrong", "order": "grammar-broken",
          "after-end": "grammar-broken", "unsorted": "batch-order", "wrong-cell": "vote-wrong-cell", "duplicate-vote": "vote-duplicate",
          "tally-batch": "tally-wrong", "tally-sum": "tally-wrong", "time-falls": "time-backwards", "time-grain": "time-backwards",
          "count-falls": "count-wrong", "off-roll": "issuance-out-of-roll", "wrong-shard": "issuance-out-of-roll",
          "duplicate-issuance": "issuance-duplicate", "size-falls": "head-falls", "fork": "head-root", "stale": "head-stale",
          "reopened": "head-reopened", "issuance-open": "issuance-closed-late", "early-final": "final-head-early",
          "notice-sequence": "notice-invalid", "notice": "notice-invalid"}


def code_of(rule: str, heads: bool, text: str) -> str:
    if rule == "time-falls" and heads:
        return "head-falls"
    if rule == "wrong-count":
        return "close-wrong" if text.startswith("the close") else "count-wrong"
    return _RULES.get(rule, rule)


class CannotCheck(Exception):
    """Nothing is said about the election: the source cannot be read, or is not an election at all (exit code 2)."""


@dataclass
class Finding:
    """Section 16. "A finding has a stable code, a place (file, and index where there is one), evidence in words, and the most votes that it can affect." """

    code: str
    file: str
    index: int | None
    evidence: str
    votes: int = 0

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    def line(self) -> str:
        file = ascii(self.file)[1:-1]  # names in the source may hold anything
        where = file if self.index is None else f"{file} entry {self.index}"
        return f"{self.code}: {where}: {self.evidence} (votes at most: {self.votes})"
