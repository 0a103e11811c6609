"""C2SP tlog-tiles: names, contents and bundles (section 4)."""
from __future__ import annotations

import re

from .errors import Invalid
from .merkle import EMPTY_ROOT, node_hash

WIDTH = 256
LEVELS = 8
ENTRIES = "entries"
_PATH = re.compile(r"tile/(0|[1-9][0-9]*|entries)/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?\Z", re.ASCII)


def path(level: int | str, index: int, width: int = WIDTH) -> str:
    groups = [f"{index % 1000:03d}"]
    while index >= 1000:
        index //= 1000
        groups.insert(0, f"x{index % 1000:03d}")
    name = f"tile/{level}/{'/'.join(groups)}"
    return name if width == WIDTH else f"{name}.p/{width}"


def parse_path(name: str) -> tuple[int | str, int, int]:
    """(level or `entries`, index, width). "Tile levels are 0 to 7: no tree of 64-bit size has more." """
    match = _PATH.match(name)
    if not match:
        raise Invalid("foreign-file", "not the name of a tile or bundle")
    level: int | str = match.group(1) if match.group(1) == ENTRIES else int(match.group(1))
    index = int(match.group(2).replace("x", "").replace("/", ""))
    width = int(match.group(3)) if match.group(3) else WIDTH
    height = 0 if level == ENTRIES else int(level)
    if height >= LEVELS or (match.group(3) and width >= WIDTH) or path(level, index, width) != name:
        raise Invalid("foreign-file", "not the name of a tile or bundle")
    # tiles of level l and index N hold hashes of leaves from N * 256^(l+1); sizes are below 2^64
    if (index * WIDTH + width) * WIDTH**height > 2**64:
        raise Invalid("foreign-file", "a tile beyond 2^64 leaves")
    return level, index, width


def of_tree(size: int) -> tuple[list[str], list[str]]:
    """Every tile and every bundle of a tree: floor(size / 256^level) hashes a level."""
    tiles: list[str] = []
    bundles: list[str] = []
    for level in range(LEVELS):
        count = size >> 8 * level
        full, rest = divmod(count, WIDTH)
        for target, kind in ((tiles, level), (bundles, ENTRIES)):
            if kind == ENTRIES and level:
                continue
            target.extend(path(kind, i) for i in range(full))
            if rest:
                target.append(path(kind, full, rest))
    return tiles, bundles


def edge(size: int) -> list[str]:
    """The right-edge partial tiles."""
    return [path(level, (size >> 8 * level) // WIDTH, (size >> 8 * level) % WIDTH)
            for level in range(LEVELS) if (size >> 8 * level) % WIDTH]


def growth(old: int, new: int) -> tuple[list[str], list[str]]:
    """The tiles and bundles of `new` that `old` lacks."""
    tiles: list[str] = []
    bundles: list[str] = []
    for level in range(LEVELS):
        before, after = old >> 8 * level, new >> 8 * level
        if before == after:
            continue
        for index in range(before // WIDTH, -(-after // WIDTH)):
            width = min(WIDTH, after - index * WIDTH)
            tiles.append(path(level, index, width))
            if level == 0:
                bundles.append(path(ENTRIES, index, width))
    return tiles, bundles


def on_the_way(leaf_range_level: int, index: int, size: int) -> list[str]:
    """The full tiles that lead from node `index` of a level to the right edge, and the right edge."""
    names = set(edge(size))
    for level in range(leaf_range_level // 8, LEVELS):
        count = size >> 8 * level
        tile = (index << leaf_range_level >> 8 * level) // WIDTH
        if tile >= count // WIDTH:
            break
        names.add(path(level, tile))
    return sorted(names, key=_order)


def _order(name: str) -> str:
    return name


def for_consistency(old: int, new: int) -> list[str]:
    """The right edge, and the full tiles on the way of the old tree's last subtree to it."""
    if old == 0:
        return sorted(edge(new))
    low = (old & -old).bit_length() - 1  # the last perfect subtree of the old tree has 2^low leaves
    return on_the_way(low, (old >> low) - 1, new)


def parse_bundle(data: bytes, width: int) -> list[bytes]:
    """u16 length and bytes, `width` times."""
    if not 1 <= width <= WIDTH:
        raise Invalid("bundle", "a bundle has 1 to 256 entries")
    entries: list[bytes] = []
    at = 0
    for _ in range(width):
        length = int.from_bytes(data[at:at + 2], "big")
        if at + 2 + length > len(data):
            raise Invalid("bundle", "the bundle ends within an entry")
        entries.append(data[at + 2:at + 2 + length])
        at += 2 + length
    if at != len(data):
        raise Invalid("bundle", "bytes behind the last entry")
    return entries


def _fold(hashes: list[bytes]) -> bytes:
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return node_hash(_fold(hashes[:split]), _fold(hashes[split:]))


def _subtrees(hashes: list[bytes]) -> list[bytes]:
    """Roots of the perfect subtrees of a partial tile, left to right."""
    out: list[bytes] = []
    at = 0
    for bit in range(8, -1, -1):
        if len(hashes) >> bit & 1:
            out.append(_fold(hashes[at:at + (1 << bit)]))
            at += 1 << bit
    return out


def authenticate(size: int, root: bytes, tiles: dict[str, bytes]) -> bool:
    """Whether every hash of every given tile is proven to be of the tree of `size` and `root`."""
    if size == 0:
        return not tiles and root == EMPTY_ROOT
    content: dict[tuple[int, int], list[bytes]] = {}
    for name, data in tiles.items():
        try:
            level, index, width = parse_path(name)
        except Invalid:
            return False
        if level == ENTRIES:
            return False
        count = size >> 8 * int(level)
        if index * WIDTH >= count or width != min(WIDTH, count - index * WIDTH) or len(data) != 32 * width:
            return False
        content[int(level), index] = [data[i:i + 32] for i in range(0, len(data), 32)]
    nodes: list[bytes] = []
    for level in reversed(range(LEVELS)):
        count = size >> 8 * level
        if count % WIDTH:
            if (level, count // WIDTH) not in content:
                return False
            nodes += _subtrees(content[level, count // WIDTH])
    node = nodes[-1]
    for left in reversed(nodes[:-1]):
        node = node_hash(left, node)
    if node != root:
        return False
    for (level, index), hashes in content.items():
        if len(hashes) == WIDTH:
            above = content.get((level + 1, index // WIDTH))
            if above is None or above[index % WIDTH] != _fold(hashes):
                return False
    return True
