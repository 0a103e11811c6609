"""Section 2: labels. Vectors: labels.json."""
from __future__ import annotations

import unicodedata

from .errors import Invalid
from .unassigned import is_unassigned


def _ranges(text: str) -> list[tuple[int, int]]:
    out = []
    for part in text.split():
        low, _, high = part.partition("–")
        out.append((int(low, 16), int(high or low, 16)))
    return out


def _in(code: int, ranges: list[tuple[int, int]]) -> bool:
    return any(low <= code <= high for low, high in ranges)


_FORBIDDEN = _ranges(
    "0–1F 7F–9F AD 34F 600–605 61C 6DD 70F 890–891 8E2 115F–1160 17B4–17B5 180E 200B 200E–200F 2028–202E 2060–206F 2800 3164 "
    "E000–F8FF FDD0–FDEF FEFF FFA0 FFF0–FFFB 110BD 110CD 13430–1343F 1BCA0–1BCA3 1D173–1D17A E0000–E00FF E01F0–E0FFF F0000–10FFFF")
_SPACE = _ranges("20 A0 1680 2000–200A 202F 205F 3000")
_JOINER = _ranges("200C 200D")
_JOINED = _ranges("600–10FF 1700–1CFF A800–ABFF FB50–FDFF FE70–FEFE 10A00–10FFF 11000–11FFF 1E900–1E95F")
_SELECTOR = _ranges("FE00–FE0F E0100–E01EF")


def _forbidden(code: int) -> bool:
    """"… and every code point that ends in FFFE or FFFF" """
    return _in(code, _FORBIDDEN) or code & 0xFFFE == 0xFFFE


def check_label(text: str, what: str) -> str:
    """"Labels … are NFC, 1 to 200 bytes of UTF-8, without control, bidirectional-override or other invisible characters, and
    without white space at either end or doubled." """
    try:
        length = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise Invalid("malformed", f"{what}: a lone surrogate") from None
    if not 1 <= length <= 200:
        raise Invalid("malformed", f"{what}: not 1 to 200 bytes")
    # "A label holds only characters of Unicode 14.0": any later version answers alike on them
    if any(is_unassigned(ord(c)) for c in text):
        raise Invalid("malformed", f"{what}: a code point that Unicode 14.0 does not assign")
    if not unicodedata.is_normalized("NFC", text):
        raise Invalid("malformed", f"{what}: not NFC")
    codes = [ord(c) for c in text]
    for i, code in enumerate(codes):
        before = codes[i - 1] if i else None
        after = codes[i + 1] if i + 1 < len(codes) else None
        if _forbidden(code):
            raise Invalid("malformed", f"{what}: a forbidden character")
        # "*white space*: not first, not last, not after white space"
        if _in(code, _SPACE) and (before is None or after is None or _in(before, _SPACE)):
            raise Invalid("malformed", f"{what}: white space at an end or doubled")
        # "*joiners*: only with a character of … (and not forbidden) directly before and after"
        if _in(code, _JOINER):
            for other in (before, after):
                if other is None or not _in(other, _JOINED) or _forbidden(other):
                    raise Invalid("malformed", f"{what}: a joiner where none may stand")
        # "*variation selectors*: only directly after a character from 2010 upwards that is no white space, joiner or variation selector"
        if _in(code, _SELECTOR):
            if before is None or before < 0x2010 or _in(before, _SPACE) or _in(before, _JOINER) or _in(before, _SELECTOR):
                raise Invalid("malformed", f"{what}: a variation selector where none may stand")
    return text
