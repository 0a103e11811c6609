"""Makes small elections with keys of its own, to reach rules that no given election breaks. It shares the package's hashing; what it shows is
that a rule is asked, not that bytes are right (the vectors and the given elections show that)."""
from __future__ import annotations

import base64
import functools
import hashlib
from collections import Counter
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tallyroot_reference import canonical, entries, manifest, merkle, notes, results, tiles
from tallyroot_reference.manifest import CELL, HEADS, ISSUANCE, LogId

T = 1_000_000  # registration; opening + 1 s, closing + 10 s, grace 1 s
OPENING, CLOSING, GRACE = T + 1000, T + 10_000, 1000


def key(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def public(name: str) -> bytes:
    return key(name).public_key().public_bytes_raw()


# Never a registrar's: whoever reads this page can sign with it.
_P = int("f6994b4de475d2cd5e0eecd65bcb097c499a0acdee0f98ff7b40dd857c6802ce8b78a961325fb1a2065acf1692f121e65a9515b2f29143b194aa35ed5db32962"
         "8d3e3138dafc2468ce791da153f472cde813882ac1946e6496f65a2f41e9271fd132a8f7af5a85cc18a89e4b9c87125bb5ba6fbc91ba8796c439419b65675289", 16)
_Q = int("cf27713a33d5d9bdcf832716902eeb11a5ada0bd59e500eb8737f8be1816aeb87291349de428590a2e5bb3c7a2476679865c49764cf658cba1e507fef1f50eab"
         "3557f16456f80cfef0f8ff1b13b42b33ac879c833d115d91acf65a84c5de77f94759e5d303e20c6253c83cc3e7bbcd830cd5040972a827715f8fa35975a48d93", 16)


@functools.cache
def registrar_key() -> rsa.RSAPublicKey:
    return rsa.RSAPublicNumbers(65537, _P * _Q).public_key()


def _sha(data: bytes) -> bytes:
    return hashlib.sha384(data).digest()


def registrar_signature(message: bytes) -> bytes:
    """RSASSA-PSS (RFC 8017, section 9.1.1) with a salt that follows from the message, so that trees are the same each time."""
    digest = _sha(message)
    salt = _sha(b"salt" + digest)
    h = _sha(bytes(8) + digest + salt)
    block = bytes(256 - 48 - 48 - 2) + b"\1" + salt
    mask = b"".join(_sha(h + u(i, 4)) for i in range(-(-len(block) // 48)))[:len(block)]
    masked = bytes(a ^ b for a, b in zip(block, mask))
    encoded = bytes([masked[0] & 0x7F]) + masked[1:] + h + b"\xbc"
    d = pow(65537, -1, (_P - 1) * (_Q - 1))
    return pow(int.from_bytes(encoded, "big"), d, _P * _Q).to_bytes(256, "big")


def u(value: int, length: int = 8) -> bytes:
    return value.to_bytes(length, "big")


class Publisher:
    """One log: batches are added, then everything is written down."""

    def __init__(self, world: "World", log: LogId) -> None:
        self.world, self.log = world, log
        self.tree = merkle.CompactRange()
        self.n = 0
        self.switched: int | None = None
        self.add([entries.genesis(world.m, log)])

    def key_name(self, spare: bool) -> str:
        return f"{self.log.prefix} {'spare' if spare else 'main'}"

    def add(self, batch: list[bytes], cosign: bool = True) -> None:
        w, p = self.world, self.log.prefix
        old, old_root = self.tree.size, self.tree.root()
        for entry in batch:
            self.tree.append(merkle.leaf_hash(entry))
        size, root = self.tree.size, self.tree.root()
        w.files[f"{p}/batches/{self.n}"] = (b"tallyroot/v1/batch\0" + w.m.election + self.log.bytes + u(self.n) + u(old) + old_root + u(size) + root
                                            + b"".join(u(len(e), 2) + e for e in batch))
        self.n += 1
        w.entries.setdefault(self.log, []).extend(batch)
        spare = self.switched is not None and size > self.switched
        note = self.note(size, root, spare)
        w.files[f"{p}/checkpoints/{size}"] = w.files[f"{p}/checkpoint"] = note
        if self.log.kind == HEADS and cosign:
            text = note.split("\n\n".encode())[0] + b"\n"
            seen = w.seen if w.seen is not None else w.time // 1000 + 1
            signature = u(seen) + key("witness").sign(f"cosignature/v1\ntime {seen}\n".encode() + text)
            name = "w.example"
            blob = notes.key_id(name, 4, public("witness")) + signature
            w.files[f"{p}/cosigned/{size}"] = note + f"\u2014 {name} {base64.b64encode(blob).decode()}\n".encode()
        for name in [n for group in tiles.of_tree(size) for n in group]:
            level, index, width = tiles.parse_path(f"{name}")
            if level == tiles.ENTRIES:
                chosen = w.entries[self.log][index * 256:index * 256 + width]
                w.files[f"{p}/{name}"] = b"".join(u(len(e), 2) + e for e in chosen)
            else:
                w.files[f"{p}/{name}"] = b"".join(self.tree.levels[int(level)][index * 256:index * 256 + width])

    def note(self, size: int, root: bytes, spare: bool) -> bytes:
        origin = self.world.m.origin(self.log)
        text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
        name = self.key_name(spare)
        blob = notes.key_id(origin, 1, public(name)) + key(name).sign(text.encode())
        return f"{text}\n\u2014 {origin} {base64.b64encode(blob).decode()}\n".encode()


class World:
    def __init__(self, witnesses: bool = True, cells: int = 1) -> None:
        def pair(prefix: str) -> dict[str, str]:
            return {"main": public(f"{prefix} main").hex(), "spare": public(f"{prefix} spare").hex()}

        spki = registrar_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        vkey = f"w.example+{notes.key_id('w.example', 4, public('witness')).hex()}+{base64.b64encode(bytes([4]) + public('witness')).decode()}"
        self.manifest = canonical.encode({
            "anchors": [{"kind": "directory", "name": "a"}], "authority": pair("authority"), "base": "x.example", "batch_min": 1,
            "batch_wait_ms": 100, "cast_delay_s": 0, "cells": [pair(f"cells/{k}") for k in range(cells)],
            "contests": [{"method": "ranked", "name": "Who", "options": ["A", "B", "C"], "tie_rule": "prior-rounds"}], "demo": True,
            "format": "tallyroot/v1/manifest", "head_interval_ms": 1000, "heads": pair("heads"),
            "registrars": [{"name": "R", "rsa": base64.b64encode(spki).decode(), "shards": [pair("registrars/0/0")]}],
            "retention": CLOSING + 5000, "roll": {"root": "00" * 32, "size": 10},
            "times": {"closing": CLOSING, "grace": GRACE, "opening": OPENING, "registration": T}, "title": "Built",
            "witnesses": {"keys": [vkey] if witnesses else [], "quorum": 1 if witnesses else 0}})
        self.m = manifest.parse(self.manifest)
        self.time = OPENING  # of the newest head
        self.seen: int | None = None  # when the witness says that it saw a checkpoint (s); None: a moment after its newest head
        self.files: dict[str, bytes] = {"manifest.json": self.manifest}
        self.entries: dict[LogId, list[bytes]] = {}
        self.cell = Publisher(self, LogId(CELL, 0, 0))
        self.shard = Publisher(self, LogId(ISSUANCE, 0, 0))
        self.heads = Publisher(self, LogId(HEADS, 0, 0))
        self.choices: list[tuple[int, ...]] = []
        self.sequence = 0
        self.ended = False

    def vote(self, name: str, choice: tuple[int, ...]) -> bytes:
        credential = public(name)
        message = b"tallyroot/v1/credential\0" + self.m.election + credential
        signature = registrar_signature(message)
        ballot = u(len(choice), 2) + b"".join(u(i, 2) for i in choice)
        self.choices.append(choice)
        return b"\x02" + credential + signature + ballot + key(name).sign(b"tallyroot/v1/ballot\0" + self.m.election + ballot)

    def tally(self, time: int) -> bytes:
        firsts = Counter(c[0] for c in self.choices if c)
        blanks = sum(not c for c in self.choices)
        return b"\x03" + u(self.cell.n) + u(time) + u(len(self.choices)) + u(blanks) + u(blanks) + b"".join(u(firsts[i]) for i in range(3))

    def cast(self, time: int, *votes: tuple[str, tuple[int, ...]]) -> None:
        batch = sorted((self.vote(*v) for v in votes), key=merkle.leaf_hash)
        self.cell.add(batch + [self.tally(time)])

    def issue(self, *indices: int) -> None:
        self.shard.add([b"\x05" + u(i) + bytes(32) for i in indices])

    def close(self, publisher: Publisher, time: int, count: int) -> None:
        publisher.add([b"\x04" + u(time) + u(count)])

    def head(self, time: int, states: tuple[int, int] = (0, 0), final: bool = False, cosign: bool = True,
             shard_at: int | None = None) -> None:
        """A head of both logs as they are, or of the shard at an earlier size that is a power of two."""
        self.time = time
        self.ended = final
        at = self.shard.tree.size if shard_at is None else shard_at
        root = self.shard.tree.root() if shard_at is None else self.shard.tree.subtree(0, at)
        body = u(states[0], 1) + u(self.cell.tree.size) + self.cell.tree.root() + u(states[1], 1) + u(at) + root
        self.heads.add([(b"\x09" if final else b"\x07") + u(time) + body], cosign)

    def notice(self, body: bytes) -> None:
        whole = body[:1] + u(self.sequence, 4) + body[1:]
        self.sequence += 1
        signature = key("authority main").sign(b"tallyroot/v1/notice\0" + self.m.election + b"\0" + whole)
        self.heads.add([b"\x08\0" + signature + whole])

    def switch(self, publisher: Publisher) -> None:
        """The log's checkpoints above its size are the spare's from here on."""
        size, root = publisher.tree.size, publisher.tree.root()
        publisher.switched = size
        self.notice(b"\x04" + publisher.log.bytes + u(size) + root)

    def receipt(self, index: int, head_index: int | None) -> bytes:
        """A receipt under the newest checkpoints."""
        def proof(publisher: Publisher, at: int, folder: str) -> str:
            size = publisher.tree.size
            note = self.files[f"{publisher.log.prefix}/{folder}/{size}"].decode()
            return notes.write_proof(self.entries[publisher.log][at], at, publisher.tree.inclusion(at, size), note)

        folder = "cosigned" if self.m.witnesses else "checkpoints"
        vote = proof(self.cell, index, "checkpoints")
        final = None if head_index is None else {"head": proof(self.heads, head_index, folder), "vote": vote}
        return canonical.encode({"cell": 0, "election": self.m.election.hex(), "final": final, "format": "tallyroot/v1/receipt",
                                 "manifest": self.manifest.decode(), "switches": [], "vote": vote})

    def publish(self, folder: Path, status: str) -> Path:
        for name, data in self.finished(status).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return folder

    def finished(self, status: str) -> dict[str, bytes]:
        """The tree's files, with results at the cell's newest size and one anchor of all."""
        heads = self.entries[self.heads.log]
        size = self.heads.tree.size
        note = self.files["heads/checkpoint"]
        self.files["anchors/a/0"] = (b"tallyroot/v1/anchor\0" + self.m.election + u(0) + u(0) + u(size) + b"".join(u(len(e), 2) + e for e in heads)
                                     + u(len(note), 4) + note)
        log = self.entries[self.cell.log]
        at = max((i for i, e in enumerate(log) if e[0] == 3), default=None)
        tally = None if at is None else entries.parse(log[at], self.m)
        proof = None if at is None else notes.write_proof(log[at], at, self.cell.tree.inclusion(at, len(log)), self.files["cells/0/checkpoint"].decode())
        assert tally is None or isinstance(tally, entries.Tally)
        ranked = Counter(c for c in self.choices if c)
        self.files["results.json"] = results.build(self.m, status, [results.CellResult(len(log) or int(self.ended), proof)], [tally], [ranked])
        return self.files
