"""RFC 6962 section 2.1 over SHA-256: hashes, roots, inclusion and consistency proofs (section 4)."""
from __future__ import annotations

import hashlib
from collections.abc import Callable

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class CompactRange:
    """The roots of the perfect subtrees of a growing tree (glossary), with all hashes of levels 8, 16, … kept for tiles."""

    def __init__(self) -> None:
        self.size = 0
        self.stack: list[tuple[int, bytes]] = []
        self.levels: list[list[bytes]] = [[]]

    def append(self, leaf: bytes) -> None:
        """Level l of `levels` holds the hashes that tiles of level l are made of."""
        level, node = 0, leaf
        self.levels[0].append(leaf)
        while self.stack and self.stack[-1][0] == level:
            node = node_hash(self.stack.pop()[1], node)
            level += 1
            if level % 8 == 0:
                while len(self.levels) <= level // 8:
                    self.levels.append([])
                self.levels[level // 8].append(node)
        self.stack.append((level, node))
        self.size += 1

    def root(self) -> bytes:
        if not self.stack:
            return EMPTY_ROOT
        node = self.stack[-1][1]
        for _, left in reversed(self.stack[:-1]):
            node = node_hash(left, node)
        return node

    def snapshot(self) -> tuple[int, list[tuple[int, bytes]]]:
        return self.size, list(self.stack)

    def restore(self, snapshot: tuple[int, list[tuple[int, bytes]]]) -> None:
        """Back to an earlier size."""
        self.size, self.stack = snapshot[0], list(snapshot[1])
        for level, hashes in enumerate(self.levels):
            del hashes[self.size >> 8 * level:]

    def subtree(self, start: int, end: int) -> bytes:
        """MTH(D[start:end]) for any range of leaves whose subtrees are complete."""
        if end - start == 1:
            return self.levels[0][start]
        width = end - start
        # A perfect, aligned subtree of a tile level was kept.
        level = width.bit_length() - 1
        if width == 1 << level and level % 8 == 0 and start % width == 0 and level // 8 < len(self.levels):
            return self.levels[level // 8][start // width]
        split = 1 << (width - 1).bit_length() - 1
        return node_hash(self.subtree(start, start + split), self.subtree(start + split, end))

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """RFC 6962 PATH(m, D[n]) in the tree of `size` leaves."""
        return _path(index, 0, size, self.subtree)


def _path(index: int, start: int, end: int, subtree: Callable[[int, int], bytes]) -> list[bytes]:
    proof: list[bytes] = []
    while end - start > 1:
        split = start + (1 << (end - start - 1).bit_length() - 1)
        if index < split:
            proof.append(subtree(split, end))
            end = split
        else:
            proof.append(subtree(start, split))
            start = split
    return proof[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, root: bytes, proof: list[bytes]) -> bool:
    """RFC 9162 section 2.1.3.2 (the same trees as RFC 6962)."""
    if index >= size:
        return False
    fn, sn, node = index, size - 1, leaf
    for sibling in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            node = node_hash(sibling, node)
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            node = node_hash(node, sibling)
        fn >>= 1
        sn >>= 1
    return sn == 0 and node == root


def verify_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: list[bytes]) -> bool:
    """RFC 9162 section 2.1.4.2; "from the empty tree, and from a tree to itself, the proof is empty"."""
    if old_size > new_size:
        return False
    if old_size == new_size:
        return not proof and old_root == new_root
    if old_size == 0:
        return not proof and old_root == EMPTY_ROOT
    if not proof:
        return False
    hashes = list(proof)
    if old_size & (old_size - 1) == 0:
        hashes.insert(0, old_root)
    fn, sn = old_size - 1, new_size - 1
    while fn & 1:
        fn >>= 1
        sn >>= 1
    fr = sr = hashes[0]
    for c in hashes[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            sr = node_hash(sr, c)
        fn >>= 1
        sn >>= 1
    return sn == 0 and fr == old_root and sr == new_root
