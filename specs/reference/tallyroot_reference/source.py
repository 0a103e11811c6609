"""Section 15: the published tree, read from a directory. Reads are bounded, links are not followed, nothing outside is opened."""
from __future__ import annotations

import os
import stat
from bisect import bisect_left
from pathlib import Path

from .errors import CannotCheck, Invalid

MAX_FILES = 5_000_000
MAX_DEPTH = 16


class Source:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: set[str] = set()
        self.odd: list[str] = []  # links, devices, directories too deep
        self.seen: set[str] = set()
        self.children: dict[str, list[str]] = {}
        self._list()
        self.sorted = sorted(self.files)

    def _list(self) -> None:
        """Lists everything once; whatever nobody asks for is a stray in the end."""
        todo = [("", 0)]
        try:
            while todo:
                folder, depth = todo.pop()
                names: list[str] = []
                with os.scandir(self.root / folder if folder else self.root) as items:
                    for item in items:
                        name = f"{folder}/{item.name}" if folder else item.name
                        if item.is_dir(follow_symlinks=False) and depth < MAX_DEPTH:
                            todo.append((name, depth + 1))
                        elif item.is_file(follow_symlinks=False):
                            self.files.add(name)
                            names.append(item.name)
                        else:
                            self.odd.append(name)
                        if len(self.files) + len(self.odd) + len(todo) > MAX_FILES:
                            raise CannotCheck("more files than are read")
                self.children[folder] = names
        except OSError as error:
            raise CannotCheck(f"the source cannot be listed: {error.strerror}") from None

    def read(self, name: str, limit: int) -> bytes | None:
        """The file's bytes, None where there is none; `Invalid` where it is longer than `limit`, `CannotCheck` where it cannot be read."""
        if name not in self.files:
            return None
        self.seen.add(name)
        try:
            handle = os.open(self.root / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(handle, "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise Invalid("not-a-file", "no regular file")
                data = file.read(limit + 1)
        except OSError as error:
            raise CannotCheck(f"{name} cannot be read: {error.strerror}") from None
        if len(data) > limit:
            raise Invalid("file-too-large", f"longer than {limit} bytes")
        return data

    def in_folder(self, folder: str) -> list[str]:
        """The names of the files directly in a folder."""
        return self.children.get(folder, [])

    def below(self, folder: str) -> list[str]:
        return self.sorted[bisect_left(self.sorted, f"{folder}/"):bisect_left(self.sorted, f"{folder}0")]  # "0" follows "/"
