"""Changes of a published tree that an audit must find: bytes, cuts, swaps, missing and foreign files."""
from __future__ import annotations

import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tallyroot_reference.audit import audit
from tallyroot_reference.errors import CannotCheck

Files = dict[str, bytes]


def load(folder: Path) -> Files:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def kind(name: str) -> str:
    """The kind of a file: its path with numbers taken out and the sort of log kept."""
    name = re.sub(r"^(cells/\d+|registrars/\d+/\d+)", lambda m: m.group().split("/")[0], name)
    name = re.sub(r"\.p/\d+$", ".p", name)
    return re.sub(r"\d+", "N", re.sub(r"^anchors/[^/]+", "anchors", name))


@dataclass(frozen=True)
class Change:
    what: str
    name: str
    files: dict[str, bytes | None]  # the files that differ; None: not there


def changes(files: Files, seed: int, per_kind: int) -> Iterator[Change]:
    """`per_kind` files of each kind, each with a changed byte, a cut, an added byte, a swap and a loss."""
    rng = random.Random(seed)
    kinds: dict[str, list[str]] = {}
    for name in files:
        kinds.setdefault(kind(name), []).append(name)
    for names in kinds.values():
        for name in rng.sample(names, min(per_kind, len(names))):
            data = files[name]
            at = rng.randrange(len(data))
            flipped = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1:]
            yield Change(f"byte {at}", name, {name: flipped})
            yield Change("cut", name, {name: data[:rng.randrange(len(data))]})
            yield Change("one byte more", name, {name: data + b"\n"})
            yield Change("empty", name, {name: b""})
            others = [n for n in names if files[n] != data]
            if others:
                other = rng.choice(others)
                yield Change(f"swapped with {other}", name, {name: files[other], other: data})
            yield Change("missing", name, {name: None})


def found(copy: Path, files: Files, election: bytes, change: Change) -> tuple[int, list[str]]:
    """The exit code and the codes of the findings, with the change made in the copy and undone again."""
    for name, data in change.files.items():
        if data is None:
            (copy / name).unlink()
        else:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes(data)
    try:
        a = audit(copy, election)
        return (1 if a.findings else 0), [f.code for f in a.findings]
    except CannotCheck:
        return 2, []
    finally:
        for name in change.files:
            if name in files:
                (copy / name).write_bytes(files[name])
            else:
                (copy / name).unlink()


def copy_of(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target / folder.name))


def may_be_missing(name: str, files: Files, state: str) -> bool:
    """What the specification lets go: superseded partial tiles, checkpoints that nothing names, an open election's newest anchors."""
    if ".p/" in name:
        stem, width = name.split(".p/")
        return any(n.startswith(f"{stem}.p/") and int(n.rsplit("/", 1)[1]) > int(width) for n in files)
    if "/checkpoints/" in name and not name.startswith("heads/"):
        return True  # the caller asks only where a head names it
    if name.startswith("anchors/") and state == "open":
        folder, number = name.rsplit("/", 1)
        return f"{folder}/{int(number) + 1}" not in files
    return False
