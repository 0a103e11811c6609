"""Where the material is: the elections in TALLYROOT_ELECTIONS; the vectors in TALLYROOT_VECTORS, or beside this folder."""
from __future__ import annotations

import os
from pathlib import Path

_ABOVE = Path(__file__).resolve().parents[2]
VECTORS = Path(os.environ.get("TALLYROOT_VECTORS", _ABOVE / "vectors"))
ELECTIONS = Path(os.environ["TALLYROOT_ELECTIONS"])
STATES = {"e1": "final", "e2": "open"}


def election_of(name: str) -> tuple[Path, bytes]:
    folder = next((ELECTIONS / name / "elections").iterdir())
    return folder, bytes.fromhex(folder.name)
