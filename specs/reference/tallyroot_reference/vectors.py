# mypy: disable-error-code="no-any-return"
"""Runs every case of specs/vectors/ and says where this verifier answers otherwise.

`valid` is binding. Error names are compared where findings bear them (grammar.json and receipt.json).
"""
from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import batches, canonical, counting, ed25519, entries, evidence, merkle, notes, receipts, results, rsa, tiles
from . import manifest as mf
from .errors import CannotCheck, Invalid
from .grammar import Cell, Grammar, IssuanceLog
from .heads import HeadsLog
from .labels import check_label
from .manifest import CELL, HEADS, ISSUANCE, LogId, Manifest

Case = dict[str, Any]
FILES = ("canonical_json", "labels", "ed25519", "rsa", "credential", "manifest", "ballot", "entry", "grammar", "batch", "anchor", "count",
         "results", "receipt", "evidence", "merkle", "note", "checkpoint", "tlog_proof", "tiles")


def _hex(text: str) -> bytes:
    return bytes.fromhex(text)


def _ok(call: Callable[[], object]) -> bool:
    try:
        call()
        return True
    except (Invalid, UnicodeDecodeError):
        return False


def _canonical_json(c: Case, m: Manifest) -> bool:
    return _ok(lambda: canonical.decode(_hex(c["bytes"]))) == c["valid"]


def _labels(c: Case, m: Manifest) -> bool:
    data = _hex(c.get("bytes", "")) if "bytes" in c else c["text"].encode()
    return _ok(lambda: check_label(data.decode("utf-8"), "label")) == c["valid"]


def _ed25519(c: Case, m: Manifest) -> bool:
    return ed25519.verify(_hex(c["public_key"]), _hex(c["message"]), _hex(c["signature"])) == c["valid"]


def _rsa(c: Case, m: Manifest) -> bool:
    if "signature" not in c:
        return _ok(lambda: rsa.parse_key(_hex(c["spki"]))) == c["valid"]
    return rsa.parse_key(_hex(c["spki"])).verify(_hex(c["message"]), _hex(c["signature"])) == c["valid"]


def _credential(c: Case, first: Case) -> bool:
    if "blinded" in c and "device_secret" not in c:
        return rsa.registrar_accepts(rsa.parse_key(_hex(c["spki"])), _hex(c["blinded"])) == c["valid"]
    base = c if "device_secret" in c else first
    key = rsa.parse_key(_hex(base["spki"]))
    values = rsa.credential_values(_hex(base["election"]), _hex(base["device_secret"]), base["registrar"], key)
    signature = rsa.finalize(key, _hex(base["credential_message"]), _hex(c["blind_signature"]), int(base["blinding_factor"], 16))
    if "device_secret" not in c:
        return (signature is not None) == c["valid"]
    return signature == _hex(c["signature"]) and all(
        (v.hex() if isinstance(v, bytes) else v) == c[name] for name, v in values.items())


def _manifest(c: Case, m: Manifest) -> bool:
    try:
        found = mf.parse(c["manifest"].encode())
    except Invalid:
        return not c["valid"]
    return bool(c["valid"]) and found.election.hex() == c["election"]


def _ballot(c: Case, m: Manifest) -> bool:
    try:
        choices = entries.parse_ballot(_hex(c["ballot"]), m)
    except Invalid:
        return not c["valid"]
    return bool(c["valid"]) and [list(x) for x in choices] == c["choices"] and entries.is_abstention(choices) == c["abstention"]


def _entry(c: Case, m: Manifest) -> bool:
    data = _hex(c["entry"])
    try:
        entry = entries.parse(data, m)
    except Invalid:
        return not c["valid"]
    good = c["valid"] and entries.NAMES[data[0]] == c["type"]
    if good and "signatures" in c:
        verifies = entries.notice_verifies(entry, m) if isinstance(entry, entries.Notice) else (
            isinstance(entry, entries.Vote) and entries.vote_fault(entry, m) is None)
        good = verifies == c["signatures"]
    return bool(good)


def log_of(prefix: str) -> LogId:
    parts = prefix.split("/")
    if parts[0] == "cells":
        return LogId(CELL, int(parts[1]), 0)
    return LogId(ISSUANCE, int(parts[1]), int(parts[2])) if parts[0] == "registrars" else LogId(HEADS, 0, 0)


def _grammar(c: Case, m: Manifest) -> bool:
    log = log_of(c["log"])
    g: Grammar = HeadsLog(m) if log.kind == HEADS else Cell(m, log, check_signatures=False) if log.kind == CELL else IssuanceLog(m, log)
    g.strict = True
    tree = merkle.CompactRange()
    broken = None
    try:
        for n, batch in enumerate(c["batches"]):
            g.begin(n, tree.size, len(batch))
            for entry in map(_hex, batch):
                g.entry(tree.size, entry, tree)
                tree.append(merkle.leaf_hash(entry))
    except Invalid as error:
        broken = {"code": error.code, "index": error.index}
    remarks = [{"code": code, "index": index} for index, code, _, _ in g.faults]
    return (broken is None) == c["valid"] and broken == c["broken"] and (not c["valid"] or remarks == c["remarks"])


def _batch(c: Case, m: Manifest) -> bool:
    return _ok(lambda: batches.parse_batch(_hex(c["batch"]), m)) == c["valid"]


def _anchor(c: Case, m: Manifest) -> bool:
    return _ok(lambda: batches.parse_anchor(_hex(c["anchor"]), m)) == c["valid"]


def _count(c: Case, m: Manifest) -> bool:
    if c["method"] != "ranked":
        return counting.most(c["counts"]) == (c["winner"], c["tie_broken"])
    rounds, winner = counting.run_off(c["options"], [(tuple(r), n) for r, n in c["rankings"]], c["tie_rule"])
    return winner == c["winner"] and [r.as_dict() for r in rounds] == c["rounds"]


def _results(c: Case, m: Manifest) -> bool:
    data = c["results"].encode()
    try:
        status, cells = results.parse(data, m)
    except Invalid:
        return not c["valid"]
    if not c["valid"]:
        return False
    tallies = [entries.parse(_hex(t), m) if t else None for t in c["tallies"]]
    rankings: list[Counter[tuple[int, ...]]] = [Counter() for _ in m.contests]
    for cell in c["ballots"]:
        for ballot in cell:
            for k, chosen in enumerate(ballot):
                if chosen and m.contests[k].method == "ranked":
                    rankings[k][tuple(chosen)] += 1
    return results.build(m, status, cells, [t for t in tallies if t is None or isinstance(t, entries.Tally)], rankings) == data


def _receipt(c: Case, m: Manifest) -> bool:
    try:
        verdict = receipts.verify(c["receipt"].encode(), _hex(c["election"]))
    except Invalid as error:
        return not c["valid"] and error.code == c["error"]
    return bool(c["valid"]) and verdict == c["verdict"]


def evidence_file(c: Case, texts: list[str]) -> bytes:
    """A case's file, with what its abbreviations stand for."""
    file: str = c["file"]
    for i, each in enumerate(texts):
        file = file.replace(f"~{i}", each)
    text, times = c.get("fill", ("", 0))
    return file.replace("~x", text * times).encode()


def _evidence(c: Case, texts: list[str]) -> bool:
    judge = {"split-view": evidence.split_view, "dispute": evidence.dispute}[c["kind"]]
    try:
        verdict = judge(evidence_file(c, texts), _hex(c["election"]))
    except Invalid as error:
        return not c["valid"] and error.code == c["error"] and c["exit"] == 2
    told = {name: str(verdict[name]) if isinstance(value, str) else verdict[name] for name, value in (c["verdict"] or {}).items()}
    return bool(c["valid"]) and told == c["verdict"] and evidence.exit_code(verdict) == c["exit"]


def _merkle(c: Case, m: Manifest) -> bool:
    if c["kind"] == "leaf":
        return merkle.leaf_hash(_hex(c["entry"])).hex() == c["expected"]
    proof = [_hex(h) for h in c.get("proof", [])]
    if c["kind"] == "root":
        return _text_tree(int(c["size"])).root().hex() == c["expected"]
    if c["kind"] == "inclusion":
        return merkle.verify_inclusion(_hex(c["leaf"]), int(c["index"]), int(c["size"]), _hex(c["root"]), proof) == c["valid"]
    return merkle.verify_consistency(int(c["old_size"]), _hex(c["old_root"]), int(c["new_size"]), _hex(c["new_root"]), proof) == c["valid"]


def _text_tree(size: int) -> merkle.CompactRange:
    tree = merkle.CompactRange()
    for i in range(size):
        tree.append(merkle.leaf_hash(f"entry {i}".encode()))
    return tree


def _note(c: Case, m: Manifest) -> bool:
    data = _hex(c["input_hex"]) if "input_hex" in c else c["input"].encode()
    try:
        if c["kind"] == "vkey":
            k = notes.parse_vkey(c["input"])
            found: object = {"key_id": k.key_id.hex(), "name": k.name, "public_key": k.key.hex(), "type": k.type}
        elif c["kind"] == "signed":
            return notes.verify_plain(notes.parse_note(data), notes.parse_vkey(c["vkey"])) == c["valid"]
        else:
            note = notes.parse_note(data)
            found = {"signatures": [{"key_id": s.key_id.hex(), "name": s.name, "signature": s.signature.hex()} for s in note.lines],
                     "text": note.text}
    except Invalid:
        return not c["valid"]
    return bool(c["valid"]) and found == c["expected"]


def _pair(values: list[str]) -> tuple[bytes, bytes]:
    return _hex(values[0]), _hex(values[1])


def _checkpoint(c: Case, m: Manifest) -> bool:
    try:
        if c["kind"] == "checkpoint":
            k = notes.parse_checkpoint(c["input"].encode(), c["origin"], _pair(c["keys"]))
        else:
            witnesses = tuple(notes.parse_vkey(w) for w in c["witnesses"])
            k = notes.parse_cosigned(c["input"].encode(), c["origin"], _pair(c["keys"]), witnesses)
    except Invalid:
        return not c["valid"]
    found: Case = {"key": k.key, "root": k.root.hex(), "size": str(k.size)}
    if c["kind"] == "cosigned":
        found["cosignatures"] = [[i, str(t)] for i, t in k.cosignatures]
    return bool(c["valid"]) and found == c["expected"]


def _tlog_proof(c: Case, m: Manifest) -> bool:
    try:
        p = notes.parse_proof(c["input"])
        if c["kind"] == "proof":
            k = notes.parse_checkpoint(p.checkpoint.encode(), c["origin"], _pair(c["keys"]))
            return merkle.verify_inclusion(_hex(c["leaf"]), p.index, k.size, k.root, list(p.hashes)) == c["valid"]
    except Invalid:
        return not c["valid"]
    found = {"checkpoint": p.checkpoint, "extra": p.extra.hex() if p.extra is not None else None, "index": str(p.index),
             "proof": [h.hex() for h in p.hashes]}
    return bool(c["valid"]) and found == c["expected"]


def _tiles(c: Case, m: Manifest) -> bool:
    kind = c["kind"]
    if kind == "path":
        try:
            level, index, width = tiles.parse_path(c["path"])
        except Invalid:
            return not c["valid"]
        return bool(c["valid"]) and {"index": str(index), "level": str(level), "width": width} == c["expected"]
    if kind == "bundle":
        try:
            found: object = [b.hex() for b in tiles.parse_bundle(_hex(c["bytes"]), c["width"])]
        except Invalid:
            return not c["valid"]
        return bool(c["valid"]) and found == c["expected"]
    if kind == "authenticate":
        return tiles.authenticate(int(c["size"]), _hex(c["root"]), {n: _hex(d) for n, d in c["tiles"].items()}) == c["valid"]
    if kind in ("tree", "growth"):
        made, bundles = tiles.of_tree(int(c["size"])) if kind == "tree" else tiles.growth(int(c["old_size"]), int(c["new_size"]))
        return sorted(made) == sorted(c["expected"]["tiles"]) and sorted(bundles) == sorted(c["expected"]["bundles"])
    if kind == "edge":
        return sorted(tiles.edge(int(c["size"]))) == sorted(c["expected"])
    if kind == "inclusion":
        return sorted(tiles.on_the_way(0, int(c["index"]), int(c["size"]))) == sorted(c["expected"])
    return sorted(tiles.for_consistency(int(c["old_size"]), int(c["new_size"]))) == sorted(c["expected"])


_CHECKS: dict[str, Callable[[Case, Any], bool]] = {
    "canonical_json": _canonical_json, "labels": _labels, "ed25519": _ed25519, "rsa": _rsa, "credential": _credential,
    "manifest": _manifest, "ballot": _ballot, "entry": _entry, "grammar": _grammar, "batch": _batch, "anchor": _anchor, "count": _count,
    "results": _results, "receipt": _receipt, "evidence": _evidence, "merkle": _merkle, "note": _note, "checkpoint": _checkpoint, "tlog_proof": _tlog_proof,
    "tiles": _tiles}


def run(directory: Path) -> dict[str, tuple[int, list[str]]]:
    """File name to (number of cases, the cases that are answered otherwise)."""
    try:
        files = {name: json.loads((directory / f"{name}.json").read_bytes()) for name in FILES}
        base = mf.parse(files["manifest"]["cases"][0]["manifest"].encode())
    except (OSError, ValueError, KeyError, Invalid) as error:
        raise CannotCheck(f"the vectors cannot be read: {error}") from None
    out: dict[str, tuple[int, list[str]]] = {}
    for name, content in files.items():
        cases = [c for key, value in content.items() if isinstance(value, list) and key != "texts" for c in value]
        context: Any = content["credentials"][0] if name == "credential" else content["texts"] if name == "evidence" else base
        wrong = [f"{c.get('kind', '')} {c.get('name', '')} {c.get('why', '')}".strip() for c in cases if not _CHECKS[name](c, context)]
        out[name] = (len(cases), wrong)
    return out
