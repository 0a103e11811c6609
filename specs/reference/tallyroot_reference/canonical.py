"""Canonical JSON: RFC 8785 for documents whose numbers are integers from 0 to 2^53 - 1 (section 2)."""
from __future__ import annotations

import base64
import binascii
import json
import re

from .errors import Invalid

MAX_INTEGER = 2**53 - 1
MAX_DEPTH = 64
_SHORT = {0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0C: "\\f", 0x0D: "\\r", 0x22: '\\"', 0x5C: "\\\\"}
_ESCAPED = re.compile(r'[\x00-\x1f"\\]')
_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,19})\Z", re.ASCII)


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return _SHORT.get(code, f"\\u{code:04x}")


def _string(text: str) -> str:
    return '"' + _ESCAPED.sub(_escape, text) + '"'


def _write(value: object, out: list[str], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Invalid("malformed", "nested too deep")
    if value is None:
        out.append("null")
    elif value is True:
        out.append("true")
    elif value is False:
        out.append("false")
    elif isinstance(value, str):
        out.append(_string(value))
    elif isinstance(value, int):
        if not 0 <= value <= MAX_INTEGER:
            raise Invalid("malformed", "a number is not from 0 to 2^53 - 1")
        out.append(str(value))
    elif isinstance(value, (list, tuple)):
        out.append("[")
        for i, item in enumerate(value):
            if i:
                out.append(",")
            _write(item, out, depth + 1)
        out.append("]")
    elif isinstance(value, dict):
        out.append("{")
        # RFC 8785 section 3.2.3: names in order of their UTF-16 code units.
        for i, name in enumerate(sorted(value, key=lambda n: n.encode("utf-16-be", "surrogatepass"))):
            if i:
                out.append(",")
            out.append(_string(name) + ":")
            _write(value[name], out, depth + 1)
        out.append("}")
    else:
        raise Invalid("malformed", "no JSON value")


def encode(value: object) -> bytes:
    """RFC 8785 of a value."""
    out: list[str] = []
    _write(value, out, 0)
    try:
        return "".join(out).encode("utf-8")
    except UnicodeEncodeError:
        raise Invalid("malformed", "a lone surrogate") from None


def _integer(text: str) -> int:
    if not _DECIMAL.match(text) or len(text) > 16:
        raise Invalid("malformed", "a number is not an integer from 0 to 2^53 - 1")
    return int(text)


def _no_number(text: str) -> int:
    raise Invalid("malformed", "a number is not an integer")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Invalid("malformed", "a repeated member")
    return members


def decode(data: bytes) -> object:
    """Section 2. "must be byte-equal to its RFC 8785 canonical form. All numbers are integers from 0 to 2^53 - 1." """
    try:
        value = json.loads(data.decode("utf-8"), parse_int=_integer, parse_float=_no_number,
                           parse_constant=_no_number, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise Invalid("malformed", f"no JSON: {error}"[:200]) from None
    if encode(value) != data:
        raise Invalid("malformed", "not byte-equal to its canonical form")
    return value


def members(value: object, names: set[str], what: str) -> dict[str, object]:
    """Section 2. "All members are required, no other is allowed." """
    if not isinstance(value, dict) or set(value) != names:
        raise Invalid("malformed", f"{what}: not an object with exactly the members {', '.join(sorted(names))}")
    return value


def array(value: object, low: int, high: int, what: str) -> list[object]:
    if not isinstance(value, list) or not low <= len(value) <= high:
        raise Invalid("malformed", f"{what}: not an array of {low} to {high}")
    return value


def string(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise Invalid("malformed", f"{what}: no string")
    return value


def integer(value: object, low: int, high: int, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Invalid("malformed", f"{what}: not an integer from {low} to {high}")
    return value


def hex32(value: object, what: str) -> bytes:
    """Section 1. "*hex* is lowercase hexadecimal." """
    text = string(value, what)
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise Invalid("malformed", f"{what}: not 32 bytes in lowercase hexadecimal")
    return bytes.fromhex(text)


def base64_decode(text: str, what: str = "base64") -> bytes:
    """Section 1. "*base64* is RFC 4648 section 4 with padding, canonical (unused bits zero)." """
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        raise Invalid("malformed", f"{what}: no base64") from None
    if base64.b64encode(data).decode() != text:
        raise Invalid("malformed", f"{what}: base64 that is not canonical")
    return data


def base64_encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def decimal(text: str, what: str = "decimal") -> int:
    """Section 1. "A decimal in a path or a note is ASCII without leading zeroes (`0` is `0`)." Values have 64 bits."""
    if not _DECIMAL.match(text) or int(text) >= 2**64:
        raise Invalid("malformed", f"{what}: no decimal below 2^64")
    return int(text)
