"""Section 2: the manifest, and what follows from it (sections 3, 4, 6)."""
from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property

from . import ed25519, notes, rsa
from .canonical import array, base64_decode, decode, hex32, integer, members, string
from .errors import Invalid
from .labels import check_label

MAX_MANIFEST = 1 << 20
MAX_ROLL = 2**40  # what stands for the roll where no manifest can be believed (section 16)
MAX_TIME = 2**53 - 1
BATCH_HEADER = 148
MAX_BATCH = 16 << 20
MAX_ENTRIES = 32_768
CELL, ISSUANCE, HEADS = 1, 2, 3


@dataclass(frozen=True)
class Contest:
    method: str
    name: str
    options: tuple[str, ...]
    tie_rule: str


@dataclass(frozen=True)
class KeyPair:
    main: bytes
    spare: bytes

    @property
    def both(self) -> tuple[bytes, bytes]:
        return self.main, self.spare


@dataclass(frozen=True)
class Registrar:
    name: str
    key: rsa.PublicKey
    shards: tuple[KeyPair, ...]


@dataclass(frozen=True)
class LogId:
    """Section 4. "A **log id** is 9 bytes: `kind u8 ‖ a u32 ‖ b u32`." """

    kind: int
    a: int
    b: int

    @property
    def bytes(self) -> bytes:
        return bytes([self.kind]) + self.a.to_bytes(4, "big") + self.b.to_bytes(4, "big")

    @property
    def prefix(self) -> str:
        return {CELL: f"cells/{self.a}", ISSUANCE: f"registrars/{self.a}/{self.b}", HEADS: "heads"}[self.kind]


@dataclass(frozen=True)
class Manifest:
    election: bytes
    title: str
    base: str
    demo: bool
    contests: tuple[Contest, ...]
    opening: int
    closing: int
    grace: int
    retention: int
    cells: tuple[KeyPair, ...]
    registrars: tuple[Registrar, ...]
    heads: KeyPair
    authority: KeyPair
    roll_size: int
    batch_wait_ms: int
    anchors: tuple[str, ...]
    witnesses: tuple[notes.VerifierKey, ...]
    quorum: int

    @cached_property
    def logs(self) -> tuple[LogId, ...]:
        """Section 7. "the logs are the cells 0, 1, …, then each registrar's shards in order." """
        shards = tuple(LogId(ISSUANCE, r, j) for r, reg in enumerate(self.registrars) for j in range(len(reg.shards)))
        return tuple(LogId(CELL, k, 0) for k in range(len(self.cells))) + shards

    def has_log(self, log: LogId) -> bool:
        if log.kind == CELL:
            return log.a < len(self.cells) and log.b == 0
        if log.kind == ISSUANCE:
            return log.a < len(self.registrars) and log.b < len(self.registrars[log.a].shards)
        return log == LogId(HEADS, 0, 0)

    def keys_of(self, log: LogId) -> tuple[bytes, bytes]:
        if log.kind == CELL:
            return self.cells[log.a].both
        if log.kind == ISSUANCE:
            return self.registrars[log.a].shards[log.b].both
        return self.heads.both

    def origin(self, log: LogId) -> str:
        """Section 4. `origin = <base>/elections/<election id hex>/<prefix>` """
        return f"{self.base}/elections/{self.election.hex()}/{log.prefix}"

    def cell_of(self, credential: bytes) -> int:
        """Section 4. "`cell = (u64 big-endian of the first 8 bytes of H(credential key) * cells) >> 64`" """
        return int.from_bytes(hashlib.sha256(credential).digest()[:8], "big") * len(self.cells) >> 64

    def shard_of(self, registrar: int, index: int) -> int:
        """Section 4. "`j = (roll index * shards) / roll size`, rounded down" """
        return index * len(self.registrars[registrar].shards) // self.roll_size


def _base(text: str) -> str:
    """"schema-less URL: a host name of `[a-z0-9.-]`, whose labels begin and end with a letter or digit, and optionally path parts of
    `[a-z0-9._-]`, none of them empty, `.` or `..`; at most 128 bytes, no trailing `/`" """
    host, *parts = text.split("/")
    good = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
    if len(text) > 128 or not all(good.fullmatch(label) for label in host.split(".")):
        raise Invalid("malformed", "base: no host name")
    if not all(re.fullmatch(r"[a-z0-9._-]+", part) and part not in (".", "..") for part in parts):
        raise Invalid("malformed", "base: a path part that is not allowed")
    return text


def _contest(value: object, where: str) -> Contest:
    m = members(value, {"method", "name", "options", "tie_rule"}, where)
    method = string(m["method"], where)
    if method not in ("plurality", "approval", "ranked"):
        raise Invalid("malformed", f"{where}.method")
    name = check_label(string(m["name"], where), f"{where}.name")
    options = tuple(check_label(string(o, where), f"{where}.options") for o in array(m["options"], 1, 4096, where))
    if len(set(options)) != len(options):
        raise Invalid("malformed", f"{where}.options: repeated")
    # "`tie_rule` is `listed-order`, or, for `ranked` only, `prior-rounds`"
    rule = string(m["tie_rule"], where)
    if rule != "listed-order" and not (rule == "prior-rounds" and method == "ranked"):
        raise Invalid("malformed", f"{where}.tie_rule")
    return Contest(method, name, options, rule)


def _keys(value: object, where: str) -> KeyPair:
    m = members(value, {"main", "spare"}, where)
    return KeyPair(hex32(m["main"], where), hex32(m["spare"], where))


def _registrar(value: object, where: str) -> Registrar:
    m = members(value, {"name", "rsa", "shards"}, where)
    name = check_label(string(m["name"], where), f"{where}.name")
    key = rsa.parse_key(base64_decode(string(m["rsa"], where), f"{where}.rsa"))
    return Registrar(name, key, tuple(_keys(s, f"{where}.shards") for s in array(m["shards"], 1, 64, f"{where}.shards")))


def max_ballot(contests: tuple[Contest, ...]) -> int:
    return sum(2 + 2 * (1 if c.method == "plurality" else len(c.options)) for c in contests)


def parse(data: bytes) -> Manifest:
    """Section 2. "`manifest.json` is at most 1 MiB and must be byte-equal to its RFC 8785 canonical form." """
    if len(data) > MAX_MANIFEST:
        raise Invalid("malformed", "longer than 1 MiB")
    m = members(decode(data), {"format", "title", "base", "demo", "contests", "times", "retention", "cells", "registrars", "heads",
                               "authority", "roll", "batch_min", "batch_wait_ms", "cast_delay_s", "head_interval_ms", "anchors",
                               "witnesses"}, "manifest")
    if m["format"] != "tallyroot/v1/manifest":
        raise Invalid("malformed", "format")
    title = check_label(string(m["title"], "title"), "title")
    base = _base(check_label(string(m["base"], "base"), "base"))
    if not isinstance(m["demo"], bool):
        raise Invalid("malformed", "demo")
    contests = tuple(_contest(c, f"contests[{i}]") for i, c in enumerate(array(m["contests"], 1, 200, "contests")))
    if len({c.name for c in contests}) != len(contests) or sum(len(c.options) for c in contests) > 4096:
        raise Invalid("malformed", "contests: repeated names, or more than 4,096 options in all")
    t = members(m["times"], {"registration", "opening", "closing", "grace"}, "times")
    registration, opening, closing = (integer(t[n], 0, MAX_TIME, f"times.{n}") for n in ("registration", "opening", "closing"))
    if not registration <= opening < closing:
        raise Invalid("malformed", "times: not registration <= opening < closing")
    grace = integer(t["grace"], 1000, 604_800_000, "times.grace")
    retention = integer(m["retention"], closing, MAX_TIME, "retention")
    cells = tuple(_keys(c, f"cells[{i}]") for i, c in enumerate(array(m["cells"], 1, 1024, "cells")))
    registrars = tuple(_registrar(r, f"registrars[{i}]") for i, r in enumerate(array(m["registrars"], 1, 16, "registrars")))
    heads, authority = _keys(m["heads"], "heads"), _keys(m["authority"], "authority")
    roll = members(m["roll"], {"size", "root"}, "roll")
    roll_size = integer(roll["size"], 1, MAX_ROLL, "roll.size")
    hex32(roll["root"], "roll.root")
    batch_min = integer(m["batch_min"], 1, 32_767, "batch_min")
    # "that many of the longest votes, and their tally, must fit in a batch file (section 9)"
    vote = 1 + 32 + sum(r.key.size for r in registrars) + max_ballot(contests) + 64
    tally = 1 + 32 + sum(8 + 8 * len(c.options) for c in contests)
    if BATCH_HEADER + batch_min * (2 + vote) + 2 + tally > MAX_BATCH:
        raise Invalid("malformed", "batch_min: that many votes do not fit in a batch file")
    wait = integer(m["batch_wait_ms"], 100, 30_000, "batch_wait_ms")
    integer(m["cast_delay_s"], 0, 86_400, "cast_delay_s")
    integer(m["head_interval_ms"], 100, 3_600_000, "head_interval_ms")
    anchors = tuple(_anchor(a, i) for i, a in enumerate(array(m["anchors"], 1, 16, "anchors")))
    if len(set(anchors)) != len(anchors):
        raise Invalid("malformed", "anchors: repeated names")
    w = members(m["witnesses"], {"keys", "quorum"}, "witnesses")
    witnesses = tuple(notes.parse_vkey(string(k, "witnesses.keys")) for k in array(w["keys"], 0, 64, "witnesses.keys"))
    # "vkeys with the cosignature type 0x04 and distinct names, each a label without white space and `+`"
    for k in witnesses:
        check_label(k.name, "witnesses.keys")
    if any(k.type != notes.COSIGNATURE for k in witnesses) or len({k.name for k in witnesses}) != len(witnesses):
        raise Invalid("malformed", "witnesses.keys: another type or a repeated name")
    quorum = integer(w["quorum"], 0, len(witnesses), "witnesses.quorum")
    _distinct(cells, registrars, heads, authority, witnesses)
    return Manifest(hashlib.sha256(data).digest(), title, base, m["demo"], contests, opening, closing, grace, retention, cells, registrars, heads, authority,
                    roll_size, wait, anchors, witnesses, quorum)


def _anchor(value: object, i: int) -> str:
    """"of `{"kind": "directory", "name": name}`; names match `[a-z0-9-]{1,64}` and are distinct" """
    m = members(value, {"kind", "name"}, f"anchors[{i}]")
    name = string(m["name"], "anchor")
    if m["kind"] != "directory" or not re.fullmatch(r"[a-z0-9-]{1,64}", name):
        raise Invalid("malformed", f"anchors[{i}]")
    return name


def _distinct(cells: tuple[KeyPair, ...], registrars: tuple[Registrar, ...], heads: KeyPair, authority: KeyPair,
              witnesses: tuple[notes.VerifierKey, ...]) -> None:
    """"All Ed25519 keys of a manifest, those of witnesses too, must be distinct and pass the key rule of section 3. RSA moduli must be
    distinct. Cells plus shards together are at most 1,024." """
    shards = [s for r in registrars for s in r.shards]
    keys = [k for pair in [*cells, *shards, heads, authority] for k in pair.both] + [w.key for w in witnesses]
    if len(set(keys)) != len(keys):
        raise Invalid("malformed", "one Ed25519 key twice")
    for key in keys:
        ed25519.check_key(key, "manifest")
    if len({r.key.n for r in registrars}) != len(registrars):
        raise Invalid("malformed", "one RSA modulus twice")
    if len(cells) + len(shards) > 1024:
        raise Invalid("malformed", "more than 1,024 cells and shards")
