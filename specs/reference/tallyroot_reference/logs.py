"""Sections 4, 8, 9: one published log, read from its batches and compared with its checkpoints and tiles."""
from __future__ import annotations

from dataclasses import dataclass

from . import batches, notes, tiles
from .canonical import decimal
from .entries import Tally
from .errors import Finding, Invalid
from .grammar import Cell, Grammar, IssuanceLog
from .manifest import CELL, HEADS, MAX_BATCH, LogId, Manifest
from .merkle import CompactRange, leaf_hash
from .source import Source

MAX_FINDINGS = 200  # of one log; what is more is not written down


@dataclass(frozen=True)
class End:
    """What is known at a batch end."""

    root: bytes
    closed: bool
    number: int  # votes of a cell, issuances of an issuance log
    tally: Tally | None = None
    tally_data: bytes = b""
    tally_index: int = 0


class Log:
    def __init__(self, source: Source, m: Manifest, grammar: Grammar) -> None:
        self.source = source
        self.m = m
        self.log: LogId = grammar.log
        self.grammar = grammar
        self.tree = CompactRange()
        self.ends: dict[int, End] = {}
        self.batches = 0
        self.signed = 0
        self.checkpoints: dict[int, bytes] = {}
        self.findings: list[Finding] = []
        self.cut = False  # reading stopped at something wrong

    def report(self, code: str, file: str, evidence: str, index: int | None = None, votes: int | None = None) -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(code, f"{self.log.prefix}/{file}", index, evidence, self._weight() if votes is None else votes))

    def _weight(self) -> int:
        """A cell that cannot be read to its end may hold any number of votes up to the roll's size."""
        return self.m.roll_size if self.log.kind in (CELL, HEADS) else 0

    @property
    def name(self) -> str:
        return self.log.prefix

    @property
    def published(self) -> bool:
        return bool(self.source.below(self.name))

    @property
    def number(self) -> int:
        """The votes or issuances up to the last good batch end."""
        return self.ends[self.tree.size].number if self.ends else 0

    def read_batches(self) -> None:
        """Section 9. "`batches/<n>`, n consecutive from 0. Old size and root are those of batch n - 1." """
        while not self.cut:
            file = f"batches/{self.batches}"
            snapshot = self.tree.snapshot()
            try:
                data = self.source.read(f"{self.name}/{file}", MAX_BATCH)
                if data is None:
                    break
                self._batch(batches.parse_batch(data, self.m))
            except Invalid as error:
                self.report(error.code, file, error.text, error.index)
                self.tree.restore(snapshot)
                self.cut = True
        for index, code, text in self.grammar.faults:
            self.report(code, "batches", text, index, 1 if code == "signature" else None)
        # Whoever comes behind a hole or a broken batch is not judged, but said.
        for number in self._numbers("batches"):
            if number >= self.batches + self.cut:
                self.source.seen.add(f"{self.name}/batches/{number}")
                if not self.cut:
                    self.report("missing", f"batches/{self.batches}", f"is not there, and batches/{number} is")
                break

    def _batch(self, batch: batches.Batch) -> None:
        tree, grammar = self.tree, self.grammar
        if batch.log != self.log or batch.n != self.batches:
            raise Invalid("batch", f"is batch {batch.n} of {batch.log.prefix}")
        if batch.old_size != tree.size or batch.old_root != tree.root():
            raise Invalid("batch", "does not continue the batch before")
        grammar.begin(batch.n, tree.size, len(batch.entries))
        for entry in batch.entries:
            grammar.entry(tree.size, entry, tree)
            tree.append(leaf_hash(entry))
        if batch.new_root != tree.root():
            raise Invalid("batch", "names another root than its entries lead to")
        end = End(batch.new_root, grammar.ended, 0)
        if isinstance(grammar, Cell):
            index = tree.size - 1
            if grammar.ended and batch.old_size in self.ends:
                index = self.ends[batch.old_size].tally_index
            end = End(batch.new_root, grammar.ended, grammar.votes, grammar.tally, grammar.tally_data, index)
        elif isinstance(grammar, IssuanceLog):
            end = End(batch.new_root, grammar.ended, len(grammar.issued))
        self.ends[tree.size] = end
        self.batches += 1

    def _numbers(self, folder: str) -> list[int]:
        """The decimals that name the files of a folder; other names stay strays."""
        out = []
        for name in self.source.in_folder(f"{self.name}/{folder}"):
            try:
                out.append(decimal(name))
            except Invalid:
                continue
        return sorted(out)

    def read_checkpoints(self, switch: tuple[int, bytes] | None) -> None:
        """Section 4. "A published `checkpoint` or `checkpoints/<size>` holds exactly one signature line: the log's main key, or its spare above
        the size that a switch notice names. … Checkpoints fall on batch ends only." """
        for size in self._numbers("checkpoints"):
            file = f"checkpoints/{size}"
            try:
                data = self.source.read(f"{self.name}/{file}", notes.MAX_NOTE) or b""
                k = notes.parse_checkpoint(data, self.m.origin(self.log), self.m.keys_of(self.log))
                if k.size != size:
                    raise Invalid("checkpoint", f"is a checkpoint of size {k.size}")
                self.judge_checkpoint(k, switch)
            except Invalid as error:
                self.report("checkpoint", file, error.text)
                continue
            self.checkpoints[size] = data
        self._newest()

    def judge_checkpoint(self, k: notes.Checkpoint, switch: tuple[int, bytes] | None) -> None:
        if k.key != (1 if switch and k.size > switch[0] else 0):
            raise Invalid("checkpoint", "is signed by the wrong one of the log's two keys")
        end = self.ends.get(k.size)
        if end is None and not self.cut:
            raise Invalid("checkpoint", "signs a size at which no published batch ends")
        if end and end.root != k.root:
            raise Invalid("checkpoint", "signs another root than the batches lead to")

    def _newest(self) -> None:
        """"`checkpoint` must be byte-equal to the `checkpoints/<size>` of its size." """
        try:
            data = self.source.read(f"{self.name}/checkpoint", notes.MAX_NOTE)
            if data is None:
                if self.batches:
                    self.report("missing", "checkpoint", "the log has batches, and no checkpoint")
                return
            k = notes.parse_checkpoint(data, self.m.origin(self.log), self.m.keys_of(self.log))
        except Invalid as error:
            self.report("checkpoint", "checkpoint", error.text)
            return
        self.signed = k.size
        if self.checkpoints.get(k.size) != data:
            self.report("checkpoint", "checkpoint", f"is not byte-equal to checkpoints/{k.size}")

    def need(self, size: int, who: str) -> bytes | None:
        """"`checkpoints/<size>` must exist for every size that a head, an anchor, `results.json` or `checkpoint` names." """
        if size > self.signed:
            self.report("checkpoint", "checkpoint", f"is of size {self.signed}, and {who} names {size}")
        if size not in self.checkpoints:
            self.report("missing", f"checkpoints/{size}", f"{who} names this size, and there is no right checkpoint of it")
        return self.checkpoints.get(size)

    def read_tiles(self) -> None:
        """Section 4. "every full tile and every right-edge partial tile of the newest checkpoint must exist. Superseded partial tiles may exist
        and must then be right." """
        present = self.source.below(f"{self.name}/tile")
        for full in present:
            file = full[len(self.name) + 1:]
            try:
                level, index, width = tiles.parse_path(file)
                if level == tiles.ENTRIES:
                    self._bundle(full, index, width)
                else:
                    self._tile(full, int(level), index, width)
            except Invalid as error:
                self.source.seen.add(full)
                self.report(error.code if error.code == "stray" else "tile", file, error.text, votes=0)
        if not self.cut:
            # what `checkpoint` names beyond the batches is said already
            made, bundles = tiles.of_tree(min(self.signed, self.tree.size))
            for file in made + bundles:
                if f"{self.name}/{file}" not in self.source.files:
                    self.report("missing", file, "a tile of the newest checkpoint", votes=0)

    def _tile(self, full: str, level: int, index: int, width: int) -> None:
        data = self.source.read(full, 32 * tiles.WIDTH)
        hashes = self.tree.levels[level][index * tiles.WIDTH:index * tiles.WIDTH + width] if level < len(self.tree.levels) else []
        if len(hashes) < width:
            if self.cut:
                return
            raise Invalid("tile", "is of no tree that the batches lead to")
        if b"".join(hashes) != data:
            raise Invalid("tile", "holds other hashes than the batches lead to")

    def _bundle(self, full: str, index: int, width: int) -> None:
        data = self.source.read(full, tiles.WIDTH * (2 + 65_535)) or b""
        leaves = self.tree.levels[0][index * tiles.WIDTH:index * tiles.WIDTH + width]
        if len(leaves) < width:
            if self.cut:
                return
            raise Invalid("tile", "is of no tree that the batches lead to")
        if [leaf_hash(entry) for entry in tiles.parse_bundle(data, width)] != leaves:
            raise Invalid("tile", "holds other entries than the batches")
