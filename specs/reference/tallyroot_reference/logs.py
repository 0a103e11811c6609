"""Sections 4, 8, 9: one published log, read from its batches and compared with its checkpoints and tiles."""
from __future__ import annotations

from dataclasses import dataclass, replace

from . import batches, notes, tiles
from .canonical import decimal
from .entries import Tally
from .errors import Finding, Invalid, code_of
from .grammar import Cell, Grammar, IssuanceLog
from .manifest import HEADS, MAX_BATCH, LogId, Manifest
from .merkle import CompactRange, leaf_hash
from .source import Source

MAX_FINDINGS = 200  # of one log; what is more is not written down
# What is wrong with a checkpoint, by the codes of section 16.
_CODES = {"note": "checkpoint-malformed", "checkpoint": "checkpoint-malformed", "malformed": "checkpoint-malformed",
          "extra-line": "checkpoint-extra-line", "signature": "checkpoint-signature",
          "no-end": "checkpoint-place", "beyond": "checkpoint-rollback", "root": "checkpoint-root"}


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
        self.checkpoints: dict[int, bytes] = {}  # as published, right or wrong
        self.findings: list[Finding] = []
        self.cut = False  # reading stopped at something wrong

    def report(self, code: str, file: str, evidence: str, index: int | None = None, votes: int | None = None) -> None:
        """`votes`: at most so many and at most the roll; None: the roll."""
        if len(self.findings) < MAX_FINDINGS:
            at_most = self.m.roll_size if votes is None else min(votes, self.m.roll_size)
            self.findings.append(Finding(code, f"{self.log.prefix}/{file}", index, evidence, at_most))

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
            try:
                data = self.source.read(f"{self.name}/{file}", MAX_BATCH)
                if data is None:
                    break
                self._batch(self._open(data))
            except Invalid as error:
                self.report(error.code, file, error.text, error.index)
                self.cut = True
        for index, code, text, votes in self.grammar.faults:
            if code != "unclosed":  # the audit says it, with what the log holds above
                self.report(code_of(code, self.log.kind == HEADS, text), "batches", text, index, votes)
        # Whoever comes behind a hole or a broken batch is not judged, but said.
        for number in self._numbers("batches"):
            if number >= self.batches + self.cut:
                self.source.seen.add(f"{self.name}/batches/{number}")
                if not self.cut:
                    self.report("missing-file", f"batches/{self.batches}", f"is not there, and batches/{number} is")
                break

    def _open(self, data: bytes) -> batches.Batch:
        """The next batch, if it is of this log and its entries lead from the batch before to the root that it names."""
        try:
            batch = batches.parse_batch(data, self.m)
        except Invalid as error:
            raise Invalid("batch-foreign" if error.code == "foreign" else "batch-malformed", error.text) from None
        if batch.log != self.log or batch.n != self.batches:
            raise Invalid("batch-foreign", f"is batch {batch.n} of {batch.log.prefix}")
        if batch.old_size != self.tree.size or batch.old_root != self.tree.root():
            raise Invalid("batch-chain", "does not continue the batch before")
        snapshot = self.tree.snapshot()
        for entry in batch.entries:
            self.tree.append(leaf_hash(entry))
        root = self.tree.root()
        self.tree.restore(snapshot)
        if batch.new_root != root:
            raise Invalid("batch-chain", "names another root than its entries lead to")
        return batch

    def _batch(self, batch: batches.Batch) -> None:
        tree, grammar = self.tree, self.grammar
        grammar.begin(batch.n, tree.size, len(batch.entries))
        for entry in batch.entries:
            grammar.entry(tree.size, entry, tree)
            tree.append(leaf_hash(entry))
        end = End(batch.new_root, grammar.ended, 0)
        if isinstance(grammar, Cell):
            index = tree.size - 1
            if grammar.ended and batch.old_size in self.ends:
                index = self.ends[batch.old_size].tally_index
            end = End(batch.new_root, grammar.ended, grammar.votes, grammar.tally, grammar.tally_data, index)
        elif isinstance(grammar, IssuanceLog):
            end = End(batch.new_root, grammar.ended, grammar.number)
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
        newest = self._newest()
        for size in self._numbers("checkpoints"):
            file = f"checkpoints/{size}"
            try:
                self.checkpoints[size] = data = self.source.read(f"{self.name}/{file}", notes.MAX_NOTE) or b""
                k = notes.parse_checkpoint(data, self.m.origin(self.log), self.m.keys_of(self.log))
                self.judge_checkpoint(k, switch, size)
            except Invalid as error:
                # Whether something names this size is not known yet: see `need`.
                unnamed = error.code == "no-end" and size != self.signed
                self.report(_CODES.get(error.code, error.code), file, error.text, votes=0 if unnamed else None)
        if newest is not None and self.checkpoints.get(self.signed) != newest:
            there = f"{self.name}/checkpoints/{self.signed}" in self.source.files
            self.report("checkpoint-differs" if there else "missing-file", "checkpoint" if there else f"checkpoints/{self.signed}",
                        "`checkpoint` and the checkpoints/<size> of its size are not both there and byte-equal", votes=0)

    def judge_checkpoint(self, k: notes.Checkpoint, switch: tuple[int, bytes] | None, name: int) -> None:
        if k.key != (1 if switch and k.size > switch[0] else 0):
            raise Invalid("signature", "is signed by the wrong one of the log's two keys")
        if k.size != name:
            self.report("checkpoint-place", f"checkpoints/{name}", f"is a checkpoint of size {k.size}", votes=None if name == self.signed else 0)
            if self.cut or min(k.size, name) <= self.tree.size:
                return
            raise Invalid("beyond", "signs a size that the published batches do not reach")
        end = self.ends.get(k.size)
        if end is None and not self.cut:
            if k.size > self.tree.size:
                if k.size != self.signed:  # else the batch that is missing is said
                    raise Invalid("beyond", "signs a size that the published batches do not reach")
            else:
                raise Invalid("no-end", "signs a size at which no published batch ends")
        if end and end.root != k.root:
            raise Invalid("root", "signs another root than the batches lead to")

    def _newest(self) -> bytes | None:
        """`checkpoint`: how far the log goes."""
        try:
            data = self.source.read(f"{self.name}/checkpoint", notes.MAX_NOTE)
            if data is None:
                if self.batches:
                    self.report("missing-file", "checkpoint", "the log has batches, and no checkpoint")
                return None
            k = notes.parse_checkpoint(data, self.m.origin(self.log), self.m.keys_of(self.log))
        except Invalid as error:
            self.report(_CODES.get(error.code, error.code), "checkpoint", error.text)
            try:
                if error.code != "extra-line":
                    raise
                k = notes.parse_checkpoint(data or b"", self.m.origin(self.log), self.m.keys_of(self.log), more=True)
            except Invalid:
                self.signed = self.tree.size  # "Where a log's `checkpoint` is there and cannot be believed …, it counts as far as its batches go."
                return None
        self.signed = k.size
        if k.size > self.tree.size and not self.cut:
            self.report("missing-file", f"batches/{self.batches}", "is not there, and `checkpoint` covers it", votes=k.size - self.tree.size)
            self.cut = True
        return data

    def need(self, size: int, who: str) -> bytes | None:
        """"`checkpoints/<size>` must exist for every size that a head, an anchor, `results.json` or `checkpoint` names." """
        if size > self.signed:
            self.report("checkpoint-rollback", "checkpoint", f"is of size {self.signed}, and {who} names {size}", votes=size - self.signed)
        if f"{self.name}/checkpoints/{size}" not in self.source.files:
            self.report("missing-file", f"checkpoints/{size}", f"{who} names this size, and there is no checkpoint of it", votes=0)
        self.named(size)
        return self.checkpoints.get(size)

    def named(self, size: int) -> None:
        """Something names this size: "of a `checkpoints/<size>` that nothing names: 0; else the roll" """
        for i, finding in enumerate(self.findings):
            if (finding.code, finding.file) == ("checkpoint-place", f"{self.name}/checkpoints/{size}"):
                self.findings[i] = replace(finding, votes=self.m.roll_size)

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
                code = error.code if error.code in ("foreign-file", "file-too-large", "not-a-file") else (
                    "bundle-mismatch" if file.startswith("tile/entries/") else "tile-mismatch")
                self.report(code, file, error.text, votes=None if code == "file-too-large" else 0)
        if not self.cut:
            # what `checkpoint` names beyond the batches is said already
            made, bundles = tiles.of_tree(min(self.signed, self.tree.size))
            for file in made + bundles:
                if f"{self.name}/{file}" not in self.source.files:
                    self.report("missing-file", file, "a tile of the newest checkpoint", votes=0)

    def _tile(self, full: str, level: int, index: int, width: int) -> None:
        data = self.source.read(full, 32 * tiles.WIDTH)
        hashes = self.tree.levels[level][index * tiles.WIDTH:index * tiles.WIDTH + width] if level < len(self.tree.levels) else []
        if len(hashes) < width:
            if self.cut:
                return
            raise Invalid("foreign-file", "is of no tree that the batches lead to")
        if b"".join(hashes) != data:
            raise Invalid("tile", "holds other hashes than the batches lead to")

    def _bundle(self, full: str, index: int, width: int) -> None:
        data = self.source.read(full, tiles.WIDTH * (2 + 65_535)) or b""
        leaves = self.tree.levels[0][index * tiles.WIDTH:index * tiles.WIDTH + width]
        if len(leaves) < width:
            if self.cut:
                return
            raise Invalid("foreign-file", "is of no tree that the batches lead to")
        if [leaf_hash(entry) for entry in tiles.parse_bundle(data, width)] != leaves:
            raise Invalid("tile", "holds other entries than the batches")
