"""Sections 9 and 10: batch files and anchor objects. The entries are judged elsewhere."""
from __future__ import annotations

from dataclasses import dataclass

from .entries import Reader, take_log
from .errors import Invalid
from .manifest import MAX_BATCH, MAX_ENTRIES, LogId, Manifest
from .merkle import EMPTY_ROOT

_BATCH = b"tallyroot/v1/batch\0"
_ANCHOR = b"tallyroot/v1/anchor\0"


@dataclass(frozen=True)
class Batch:
    log: LogId
    n: int
    old_size: int
    old_root: bytes
    new_size: int
    new_root: bytes
    entries: tuple[bytes, ...]


@dataclass(frozen=True)
class Anchor:
    n: int
    old_size: int
    new_size: int
    entries: tuple[bytes, ...]
    note: bytes


def _head(data: bytes, label: bytes, m: Manifest) -> Reader:
    if len(data) > MAX_BATCH:
        raise Invalid("malformed", "longer than 16 MiB")
    r = Reader(data)
    if r.take(len(label)) != label:
        raise Invalid("foreign", "another label")
    if r.take(32) != m.election:
        raise Invalid("foreign", "of another election")
    return r


def _entries(r: Reader, count: int) -> tuple[bytes, ...]:
    out = []
    for _ in range(count):
        entry = r.take(r.number(2))
        if not entry:
            raise Invalid("malformed", "an empty entry")
        out.append(entry)
    return tuple(out)


def parse_batch(data: bytes, m: Manifest) -> Batch:
    """Section 9. "It holds `new size - old size` entries, at least one, at most 32,768, none of them empty; a file is at most 16 MiB." """
    r = _head(data, _BATCH, m)
    log = take_log(r, m)
    n, old_size, old_root, new_size, new_root = r.number(8), r.number(8), r.take(32), r.number(8), r.take(32)
    count = new_size - old_size
    if not 1 <= count <= MAX_ENTRIES:
        raise Invalid("malformed", "not 1 to 32,768 entries")
    # "Old size and root are those of batch n - 1 (for n = 0: 0 and `H("")`)"; every batch has an entry, so n <= old size.
    if n == 0 and (old_size, old_root) != (0, EMPTY_ROOT) or n > old_size:
        raise Invalid("malformed", "more batches before it than entries, or batch 0 that starts later")
    # Section 8: "entry 0 is the genesis …, alone in batch 0"
    if n == 0 and count != 1:
        raise Invalid("malformed", "batch 0 of more than one entry")
    entries = _entries(r, count)
    r.end()
    return Batch(log, n, old_size, old_root, new_size, new_root, entries)


def parse_anchor(data: bytes, m: Manifest) -> Anchor:
    """Section 10. "Old size is object n - 1's new size (0 for n = 0); the entries are the heads log's from old size to new size - 1, at least one." """
    r = _head(data, _ANCHOR, m)
    n, old_size, new_size = r.number(8), r.number(8), r.number(8)
    # Each entry takes three bytes at least.
    if not 1 <= new_size - old_size <= MAX_BATCH // 3:
        raise Invalid("malformed", "no entry, or more than an object holds")
    if (n == 0) != (old_size == 0) or n > old_size:
        raise Invalid("malformed", "more objects before it than entries, or object 0 that starts later")
    entries = _entries(r, new_size - old_size)
    note = r.take(r.number(4))
    r.end()
    if not note:
        raise Invalid("malformed", "no note")
    return Anchor(n, old_size, new_size, entries, note)
