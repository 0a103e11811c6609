"""Section 3: Ed25519 with checks before the library is asked. Vectors: ed25519.json."""
from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .errors import Invalid

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)


def _x_squared(y: int) -> int:
    return (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P


def _is_square(a: int) -> bool:
    return a == 0 or pow(a, (P - 1) // 2, P) == 1


def _small_order_ys() -> frozenset[int]:
    """The y of the eight points of order 1, 2, 4 and 8: 1, -1, 0, and those of order 8.

    A point of order 8 doubles to one with y = 0, so x² = -y²; with -x² + y² = 1 + d x² y² that is d t² + 2 t - 1 = 0, t = y².
    """
    ys = {1, P - 1, 0}
    for sign in (1, -1):
        root = _sqrt(1 + D)
        if root is None:
            continue
        t = (-1 + sign * root) * pow(D, P - 2, P) % P
        y = _sqrt(t)
        if y is not None:
            ys |= {y, P - y}
    return frozenset(ys)


def _sqrt(a: int) -> int | None:
    a %= P
    root = pow(a, (P + 3) // 8, P)
    if root * root % P != a:
        root = root * SQRT_M1 % P
    return root if root * root % P == a else None


SMALL_ORDER_Y = _small_order_ys()


def check_point(encoded: bytes, what: str) -> None:
    """Section 3. "the encoded y of A and of R is below p = 2^255 - 19; neither is one of the eight small-order points;
    neither encodes x = 0 with the sign bit set." """
    if len(encoded) != 32:
        raise Invalid("bad-key", f"{what}: not 32 bytes")
    value = int.from_bytes(encoded, "little")
    y = value & (2**255 - 1)
    if y >= P:
        raise Invalid("bad-key", f"{what}: y is not below p")
    # x = 0 exactly for y = 1 and y = -1, which are of small order with either sign bit.
    if y in SMALL_ORDER_Y:
        raise Invalid("bad-key", f"{what}: small order, or x = 0 with the sign bit")


def check_key(key: bytes, what: str) -> None:
    """Section 2. "All Ed25519 keys of a manifest … must be distinct and pass the key rule of section 3." "A is a point of the curve" """
    check_point(key, what)
    y = int.from_bytes(key, "little") & (2**255 - 1)
    if not _is_square(_x_squared(y)):
        raise Invalid("bad-key", f"{what}: not on the curve")


def verify(key: bytes, message: bytes, signature: bytes) -> bool:
    """Section 3. Whether the signature is valid.

    "Then `[S]B = R + [k]A` without cofactor, one signature at a time (`R` is compared as bytes)." OpenSSL, below the
    `cryptography` package, computes [S]B - [k]A and compares its encoding with R.
    """
    if len(signature) != 64:
        return False
    try:
        check_point(key, "key")
        check_point(signature[:32], "R")
    except Invalid:
        return False
    # "S < L"
    if int.from_bytes(signature[32:], "little") >= L:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
