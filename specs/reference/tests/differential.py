# mypy: disable-error-code="no-any-return"
"""What this verifier reads in inputs that the Rust one asks about: protocol/tests/differential. One JSON document a line, in and out; null is a refusal."""
from __future__ import annotations

import base64
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tallyroot_reference import batches, canonical, ed25519, entries, evidence, merkle, notes, receipts, results, rsa, tiles
from tallyroot_reference import manifest as mf
from tallyroot_reference.audit import audit
from tallyroot_reference.errors import CannotCheck, Invalid
from tallyroot_reference.grammar import Cell, Grammar, IssuanceLog
from tallyroot_reference.heads import HeadsLog
from tallyroot_reference.labels import check_label
from tallyroot_reference.manifest import CELL, HEADS, Manifest
from tallyroot_reference.vectors import log_of

Case = dict[str, Any]


def _ok(call: Any) -> bool:
    try:
        call()
        return True
    except (Invalid, UnicodeDecodeError):
        return False


def _grammar(c: Case, m: Manifest) -> object:
    log = log_of(c["log"])
    g: Grammar = HeadsLog(m) if log.kind == HEADS else Cell(m, log, check_signatures=False) if log.kind == CELL else IssuanceLog(m, log)
    g.strict = True
    tree = merkle.CompactRange()
    for n, batch in enumerate(c["batches"]):
        g.begin(n, tree.size, len(batch))
        for entry in map(bytes.fromhex, batch):
            g.entry(tree.size, entry, tree)
            tree.append(merkle.leaf_hash(entry))
    return [[index, code] for index, code, _, _ in g.faults]


def _note(c: Case, data: bytes) -> object:
    if c["kind"] == "vkey":
        k = notes.parse_vkey(data.decode())
        return [k.name, k.type, k.key.hex()]
    note = notes.parse_note(data)
    if c["kind"] == "signed":
        return notes.verify_plain(note, notes.parse_vkey(c["vkey"]))
    return [note.text, [[line.name, line.signature.hex()] for line in note.lines]]


def _checkpoint(c: Case, data: bytes) -> object:
    keys = (bytes.fromhex(c["keys"][0]), bytes.fromhex(c["keys"][1]))
    if c["kind"] == "checkpoint":
        k = notes.parse_checkpoint(data, c["origin"], keys)
        return [str(k.size), k.root.hex(), k.key]
    k = notes.parse_cosigned(data, c["origin"], keys, tuple(notes.parse_vkey(w) for w in c["witnesses"]))
    return [str(k.size), k.root.hex(), k.key, [[i, str(t)] for i, t in k.cosignatures]]


def _proof(c: Case, data: bytes) -> object:
    p = notes.parse_proof(data.decode())
    if c["kind"] == "form":
        return [p.extra.hex() if p.extra is not None else None, str(p.index), len(p.hashes), p.checkpoint.encode().hex()]
    try:
        k = notes.parse_checkpoint(p.checkpoint.encode(), c["origin"], (bytes.fromhex(c["keys"][0]), bytes.fromhex(c["keys"][1])))
    except Invalid:
        return False
    return merkle.verify_inclusion(bytes.fromhex(c["leaf"]), p.index, k.size, k.root, list(p.hashes))


def _receipt(c: Case, data: bytes) -> object:
    v: Any = receipts.verify(data, bytes.fromhex(c["election"]))
    seal = v["seal"] and [v["seal"][name] for name in ("head", "heads_size", "time", "final_head", "witnesses")]
    return [v["cell"], v["index"], v["size"], seal]


def _evidence(c: Case, data: bytes) -> object:
    election = bytes.fromhex(c["election"])
    if c["kind"] == "split-view":
        v: Any = evidence.split_view(data, election)
        return [v["log"], str(v["older"]), str(v["newer"])]
    v = evidence.dispute(data, election)
    return [v["ruling"], v["rolled_back"]]


def read(file: str, c: Case, m: Manifest) -> object:
    def data(field: str) -> bytes:
        return bytes.fromhex(c[field])

    if file == "canonical_json":
        return _ok(lambda: canonical.decode(data("bytes")))
    if file == "labels":
        return _ok(lambda: check_label(data("bytes").decode(), "label"))
    if file == "ed25519":
        return ed25519.verify(data("public_key"), data("message"), data("signature")) or None
    if file == "rsa":
        key = rsa.parse_key(data("spki"))
        return key.verify(data("message"), data("signature")) if "signature" in c else key.size
    if file == "manifest":
        return mf.parse(data("manifest")).election.hex()
    if file == "ballot":
        return [list(x) for x in entries.parse_ballot(data("ballot"), m)]
    if file == "entry":
        raw = data("entry")
        entry = entries.parse(raw, m)
        verifies = (entries.notice_verifies(entry, m) if isinstance(entry, entries.Notice)
                    else entries.vote_fault(entry, m) is None if isinstance(entry, entries.Vote) else None)
        return [entries.NAMES[raw[0]], verifies]
    if file == "grammar":
        return _grammar(c, m)
    if file == "batch":
        b = batches.parse_batch(data("batch"), m)
        return [b.log.prefix, b.n, b.old_size, b.new_size, len(b.entries)]
    if file == "anchor":
        a = batches.parse_anchor(data("anchor"), m)
        return [a.n, a.old_size, a.new_size, len(a.entries), len(a.note)]
    if file == "results":
        status, cells = results.parse(data("results"), m)
        return [status, [cell.size for cell in cells]]
    if file == "receipt":
        return _receipt(c, data("receipt"))
    if file == "evidence":
        return _evidence(c, data("evidence"))
    if file == "merkle":
        proof = [bytes.fromhex(h) for h in c["proof"]]
        if c["kind"] == "inclusion":
            return merkle.verify_inclusion(data("leaf"), int(c["index"]), int(c["size"]), data("root"), proof)
        return merkle.verify_consistency(int(c["old_size"]), data("old_root"), int(c["new_size"]), data("new_root"), proof)
    if file == "note":
        return _note(c, data("input"))
    if file == "checkpoint":
        return _checkpoint(c, data("input"))
    if file == "tlog_proof":
        return _proof(c, data("input"))
    if c["kind"] == "path":
        level, index, width = tiles.parse_path(data("path").decode())
        return [str(level), str(index), width]
    return [b.hex() for b in tiles.parse_bundle(data("bytes"), c["width"])]


def trees(file: Path) -> None:
    """Audits trees of trees.json with some files changed: `{"case": n, "files": {path: hex or null}}`. Answers whether there are findings, and the state."""
    known = json.loads(file.read_bytes())
    for line in sys.stdin:
        asked = json.loads(line)
        case = known["cases"][asked["case"]]
        with tempfile.TemporaryDirectory() as temporary:
            files = {name: base64.b64decode(known["blobs"][blob]) for name, blob in case["files"].items()}
            for name, data in asked["files"].items():
                files.pop(name, None)
                if data is not None:
                    files[name] = bytes.fromhex(data)
            for name, content in files.items():
                (Path(temporary) / name).parent.mkdir(parents=True, exist_ok=True)
                (Path(temporary) / name).write_bytes(content)
            try:
                a = audit(Path(temporary), bytes.fromhex(case["election"]))
                said: object = [sorted({f.code for f in a.findings}), a.state]
            except CannotCheck:
                said = None
            except Exception as error:  # noqa: BLE001 - as above
                said = f"{type(error).__name__}: {error}"
        print(json.dumps(said))


def main() -> None:
    if sys.argv[1].endswith("trees.json"):
        trees(Path(sys.argv[1]))
        return
    base = json.loads((Path(sys.argv[1]) / "manifest.json").read_bytes())["cases"][0]["manifest"]
    m = mf.parse(base.encode())
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            said = read(asked["file"], asked["case"], m)
        except (Invalid, UnicodeDecodeError):
            said = None
        except Exception as error:  # noqa: BLE001 - whatever else escapes is a fault of this verifier, and must be seen
            said = f"{type(error).__name__}: {error}"
        print(json.dumps(said))


if __name__ == "__main__":
    main()
