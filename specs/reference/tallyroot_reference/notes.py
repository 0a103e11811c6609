"""C2SP signed-note, tlog-checkpoint, tlog-cosignature and tlog-proof as section 4 narrows them."""
from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from . import ed25519, merkle
from .canonical import base64_decode, base64_encode, decimal
from .errors import Invalid

MAX_NOTE = 64 * 1024
MAX_LINES = 100
MAX_PROOF = 128 * 1024
MAX_HASHES = 64
ED25519, COSIGNATURE = 0x01, 0x04
_SPACES = frozenset("\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000") | {chr(c) for c in range(0x2000, 0x200B)}


@dataclass(frozen=True)
class Line:
    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True)
class Note:
    text: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class VerifierKey:
    name: str
    key_id: bytes
    type: int
    key: bytes


@dataclass(frozen=True)
class Checkpoint:
    origin: str
    size: int
    root: bytes
    key: int  # 0 the main key, 1 the spare
    cosignatures: tuple[tuple[int, int], ...] = ()  # (index of the witness, time in seconds)


@dataclass(frozen=True)
class Proof:
    extra: bytes | None
    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str


def key_id(name: str, kind: int, key: bytes) -> bytes:
    """C2SP signed-note: SHA-256(name ‖ 0x0A ‖ type ‖ key), its first 4 bytes; also for cosignature keys."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + key).digest()[:4]


def is_key_name(name: str) -> bool:
    """"An origin is a valid key name of a signed note (no white space, no `+`)." Control characters, which no note may hold, are refused too."""
    return bool(name) and not any(c in _SPACES or c == "+" or c < " " for c in name)


def parse_vkey(text: str) -> VerifierKey:
    """`name+hex key id+base64(type ‖ key)` with type 0x01 or 0x04."""
    parts = text.split("+", 2)
    if len(parts) != 3 or not is_key_name(parts[0]) or not re.fullmatch(r"[0-9a-f]{8}", parts[1]):
        raise Invalid("vkey", "no verifier key")
    blob = base64_decode(parts[2], "verifier key")
    if len(blob) != 33 or blob[0] not in (ED25519, COSIGNATURE):
        raise Invalid("vkey", "a verifier key of an unknown type or length")
    vkey = VerifierKey(parts[0], bytes.fromhex(parts[1]), blob[0], blob[1:])
    if key_id(vkey.name, vkey.type, vkey.key) != vkey.key_id:
        raise Invalid("vkey", "the key ID is not that of name and key")
    return vkey


def parse_note(data: bytes) -> Note:
    """"A note is at most 64 KiB with at most 100 signature lines." """
    if len(data) > MAX_NOTE:
        raise Invalid("note", "longer than 64 KiB")
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Invalid("note", "no UTF-8") from None
    # signed-note: no ASCII control characters (those below U+0020) other than newline
    if any(c < " " and c != "\n" for c in whole):
        raise Invalid("note", "a control character")
    at = whole.rfind("\n\n")
    if at < 0 or not whole.endswith("\n"):
        raise Invalid("note", "no empty line, or no newline at the end")
    text, rest = whole[:at + 1], whole[at + 2:]
    raw = rest.split("\n")[:-1]
    if not 1 <= len(raw) <= MAX_LINES:
        raise Invalid("note", "not 1 to 100 signature lines")
    lines = []
    for line in raw:
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != "\u2014" or not is_key_name(parts[1]):
            raise Invalid("note", "no signature line")
        blob = base64_decode(parts[2], "signature")
        if len(blob) < 5:
            raise Invalid("note", "a signature too short")
        lines.append(Line(parts[1], blob[:4], blob[4:]))
    return Note(text, tuple(lines))


def verify_plain(note: Note, vkey: VerifierKey) -> bool:
    """Whether the note has a valid type 0x01 signature by `vkey`."""
    return any(line.name == vkey.name and line.key_id == vkey.key_id
               and ed25519.verify(vkey.key, note.text.encode(), line.signature) for line in note.lines)


def _body(note: Note, origin: str) -> tuple[int, bytes]:
    """"Checkpoints are C2SP tlog-checkpoint notes with the origin above, without extension lines." """
    parts = note.text.split("\n")
    if len(parts) != 4 or parts[3]:
        raise Invalid("checkpoint", "not exactly three lines")
    if parts[0] != origin:
        raise Invalid("checkpoint", "another origin")
    size = decimal(parts[1], "size")
    root = base64_decode(parts[2], "root")
    if len(root) != 32:
        raise Invalid("checkpoint", "a root that has not 32 bytes")
    # "A checkpoint of size 0 carries the root `H("")`."
    if size == 0 and root != merkle.EMPTY_ROOT:
        raise Invalid("checkpoint", "size 0 with a root")
    return size, root


def _log_line(note: Note, origin: str, keys: tuple[bytes, bytes]) -> int:
    """"The signer's key name is the origin, the signature type 0x01 (Ed25519)." """
    line = note.lines[0]
    for which, key in enumerate(keys):
        if line.name == origin and line.key_id == key_id(origin, ED25519, key):
            if ed25519.verify(key, note.text.encode(), line.signature):
                return which
    raise Invalid("signature", "the first line is no signature by a key of this log")


def parse_checkpoint(data: bytes, origin: str, keys: tuple[bytes, bytes], more: bool = False) -> Checkpoint:
    """"A published `checkpoint` or `checkpoints/<size>` holds exactly one signature line." Which key is judged elsewhere. `more`: what the first of several lines says."""
    note = parse_note(data)
    size, root = _body(note, origin)
    if len(note.lines) != 1 and not more:
        raise Invalid("extra-line", "not exactly one signature line")
    return Checkpoint(origin, size, root, _log_line(note, origin, keys))


def parse_signed(note: Note, origin: str, keys: tuple[bytes, bytes]) -> Checkpoint:
    """Section 17. "It is verified by a line that is named after its origin and is a signature of type 0x01 by the log's main or spare key …
    One such line is enough; other lines, also false ones in the log's name, are not looked at." """
    size, root = _body(note, origin)
    for which, key in enumerate(keys):
        if verify_plain(note, VerifierKey(origin, key_id(origin, ED25519, key), ED25519, key)):
            return Checkpoint(origin, size, root, which)
    raise Invalid("signature", "no line is a signature by a key of this log")


def parse_cosigned(data: bytes, origin: str, keys: tuple[bytes, bytes], witnesses: tuple[VerifierKey, ...]) -> Checkpoint:
    """"the same note with the cosignatures (C2SP tlog-cosignature, type 0x04) of named witnesses after the log's line. Any other line is a finding." """
    note = parse_note(data)
    size, root = _body(note, origin)
    which = _log_line(note, origin, keys)
    found: list[tuple[int, int]] = []
    for line in note.lines[1:]:
        index = next((i for i, w in enumerate(witnesses) if (w.name, w.key_id) == (line.name, line.key_id)), None)
        if index is None:
            raise Invalid("checkpoint", "a line of nobody who is named")
        # "each witness has at most one line, in any order"
        if any(index == i for i, _ in found):
            raise Invalid("checkpoint", "a witness with two lines")
        if len(line.signature) != 72:
            raise Invalid("checkpoint", "a cosignature that has not 72 bytes")
        time = int.from_bytes(line.signature[:8], "big")
        # "A cosignature's timestamp is from 1 to 2^63 - 1"
        if not 1 <= time < 2**63:
            raise Invalid("checkpoint", "a cosignature's time out of range")
        message = f"cosignature/v1\ntime {time}\n{note.text}".encode()
        if not ed25519.verify(witnesses[index].key, message, line.signature[8:]):
            raise Invalid("checkpoint", "a cosignature that does not verify")
        found.append((index, time))
    return Checkpoint(origin, size, root, which, tuple(found))


def parse_proof(text: str) -> Proof:
    """"a `.tlog-proof` is at most 128 KiB with at most 64 hashes, and has no empty `extra` line." """
    if len(text) > MAX_PROOF or len(text.encode("utf-8", "replace")) > MAX_PROOF:
        raise Invalid("proof", "longer than 128 KiB")
    head, separator, checkpoint = text.partition("\n\n")
    lines = head.split("\n")
    if not separator or lines.pop(0) != "c2sp.org/tlog-proof@v1":
        raise Invalid("proof", "no tlog-proof")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = base64_decode(lines.pop(0)[6:], "extra")
        if not extra:
            raise Invalid("proof", "an empty extra line")
    if not lines or not lines[0].startswith("index "):
        raise Invalid("proof", "no index")
    index = decimal(lines.pop(0)[6:], "index")
    if len(lines) > MAX_HASHES:
        raise Invalid("proof", "more than 64 hashes")
    hashes = tuple(base64_decode(line, "hash") for line in lines)
    if any(len(h) != 32 for h in hashes):
        raise Invalid("proof", "a hash that has not 32 bytes")
    try:
        parse_note(checkpoint.encode())
    except UnicodeEncodeError:
        raise Invalid("proof", "a lone surrogate") from None
    return Proof(extra, index, hashes, checkpoint)


def write_proof(extra: bytes, index: int, hashes: list[bytes], checkpoint: str) -> str:
    lines = ["c2sp.org/tlog-proof@v1", f"extra {base64_encode(extra)}", f"index {index}", *map(base64_encode, hashes)]
    return "\n".join(lines) + "\n\n" + checkpoint
