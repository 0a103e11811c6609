"""Section 5: registrars' RSA keys and signatures, credentials. RSASSA-PSS is computed here, without a library."""
from __future__ import annotations

import hashlib
import hmac
import math
from dataclasses import dataclass

from .errors import Invalid

_ALGORITHM = bytes.fromhex("300d06092a864886f70d0101010500")
SALT = 48
HASH = 48


def _sieve(limit: int) -> list[int]:
    flags = bytearray([1]) * limit
    flags[0:2] = b"\0\0"
    for i in range(2, math.isqrt(limit) + 1):
        if flags[i]:
            flags[i * i::i] = bytes(len(range(i * i, limit, i)))
    return [i for i in range(limit) if flags[i]]


_PRIMORIAL = math.prod(_sieve(65_536))


@dataclass(frozen=True)
class PublicKey:
    n: int
    size: int  # the modulus length in bytes

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Section 5. "an RSASSA-PSS signature (SHA-384, MGF1 with SHA-384, salt of exactly 48 bytes) of exactly the modulus length." """
        if len(signature) != self.size:
            return False
        s = int.from_bytes(signature, "big")
        if s >= self.n:
            return False
        return _pss_verify(message, pow(s, 65537, self.n).to_bytes(self.size, "big"))


def _mgf1(seed: bytes, length: int) -> bytes:
    out = b""
    counter = 0
    while len(out) < length:
        out += hashlib.sha384(seed + counter.to_bytes(4, "big")).digest()
        counter += 1
    return out[:length]


def _xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b))


def _pss_verify(message: bytes, em: bytes) -> bool:
    """EMSA-PSS-VERIFY, RFC 8017 section 9.1.2, with emBits = 8 * length - 1: the modulus has a multiple of 8 bits."""
    digest = hashlib.sha384(message).digest()
    if len(em) < HASH + SALT + 2 or em[-1] != 0xBC or em[0] & 0x80:
        return False
    masked, h = em[:-HASH - 1], em[-HASH - 1:-1]
    db = bytearray(_xor(masked, _mgf1(h, len(masked))))
    db[0] &= 0x7F
    zeroes = len(db) - SALT - 1
    if any(db[:zeroes]) or db[zeroes] != 1:
        return False
    return hashlib.sha384(bytes(8) + digest + bytes(db[zeroes + 1:])).digest() == h


def pss_encode(message: bytes, salt: bytes, length: int) -> bytes:
    """EMSA-PSS-ENCODE, RFC 8017 section 9.1.1."""
    h = hashlib.sha384(bytes(8) + hashlib.sha384(message).digest() + salt).digest()
    db = bytes(length - SALT - HASH - 2) + b"\x01" + salt
    masked = bytearray(_xor(db, _mgf1(h, len(db))))
    masked[0] &= 0x7F
    return bytes(masked) + h + b"\xbc"


class _Der:
    """The little DER that a SubjectPublicKeyInfo needs: definite, minimal lengths."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, tag: int) -> bytes:
        data, at = self.data, self.at
        if at + 2 > len(data) or data[at] != tag:
            raise Invalid("malformed", "not the DER element that must be here")
        length = data[at + 1]
        at += 2
        if length >= 0x80:
            count = length & 0x7F
            if not 1 <= count <= 2 or at + count > len(data):
                raise Invalid("malformed", "a DER length of a form that is not used")
            length = int.from_bytes(data[at:at + count], "big")
            if length < 0x80 or (count == 2 and length < 0x100):
                raise Invalid("malformed", "a DER length that is not minimal")
            at += count
        if at + length > len(data):
            raise Invalid("malformed", "DER that ends too soon")
        self.at = at + length
        return data[at:at + length]

    def end(self) -> None:
        if self.at != len(self.data):
            raise Invalid("malformed", "something follows in the DER")

    def unsigned(self) -> int:
        content = self.take(0x02)
        if not content or content[0] & 0x80 or (len(content) > 1 and content[0] == 0 and not content[1] & 0x80):
            raise Invalid("malformed", "a DER INTEGER that is negative or not minimal")
        return int.from_bytes(content, "big")


def parse_key(spki: bytes) -> PublicKey:
    """Section 5. "`rsa` is a DER SubjectPublicKeyInfo with OID rsaEncryption and NULL parameters, in the one DER encoding." """
    if len(spki) > 1024:
        raise Invalid("malformed", "longer than any registrar's key")
    outer = _Der(spki)
    body = _Der(outer.take(0x30))
    outer.end()
    start = body.at
    body.take(0x30)
    if body.data[start:body.at] != _ALGORITHM:
        raise Invalid("algorithm", "not rsaEncryption with NULL parameters")
    bits = body.take(0x03)
    body.end()
    if not bits or bits[0] != 0:
        raise Invalid("malformed", "a BIT STRING with unused bits")
    wrapped = _Der(bits[1:])
    inner = _Der(wrapped.take(0x30))
    wrapped.end()
    n = inner.unsigned()
    e = inner.unsigned()
    inner.end()
    # "The modulus has 2048 to 4096 bits, a multiple of 8, with its top bit set, is odd, no perfect square, and has no
    # prime factor below 65,536; the exponent is 65,537."
    if e != 65537:
        raise Invalid("exponent", "the exponent is not 65,537")
    bit_length = n.bit_length()
    if not 2048 <= bit_length <= 4096 or bit_length % 8:
        raise Invalid("modulus-size", "the modulus has not 2048 to 4096 bits, a multiple of 8")
    if math.gcd(n, _PRIMORIAL) != 1:
        raise Invalid("small-factor", "the modulus has a prime factor below 65,536")
    if math.isqrt(n) ** 2 == n:
        raise Invalid("perfect-square", "the modulus is a perfect square")
    return PublicKey(n, bit_length // 8)


def registrar_accepts(key: PublicKey, blinded: bytes) -> bool:
    """Section 5. "The registrar refuses a blinded message whose length is not the modulus length or whose value is 0, 1, n - 1 or above." """
    return len(blinded) == key.size and 1 < int.from_bytes(blinded, "big") < key.n - 1


def _hkdf_expand(prk: bytes, info: bytes, length: int) -> bytes:
    out, block, counter = b"", b"", 1
    while len(out) < length:
        block = hmac.digest(prk, block + info + bytes([counter]), "sha256")
        out += block
        counter += 1
    return out[:length]


def credential_values(election: bytes, secret: bytes, registrar: int, key: PublicKey) -> dict[str, object]:
    """Section 5: all that follows from a device secret, in the names of credential.json (without what needs private keys)."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    r = registrar.to_bytes(2, "big")
    prk = hmac.digest(election, secret, "sha256")
    seed = _hkdf_expand(prk, b"tallyroot/v1/credential-key", 32)
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    message = credential_message(election, public)
    salt = _hkdf_expand(prk, b"tallyroot/v1/pss-salt" + r, SALT)
    em = pss_encode(message, salt, key.size)
    counter = 0
    while True:
        x = int.from_bytes(_hkdf_expand(prk, b"tallyroot/v1/blind" + r + counter.to_bytes(4, "big"), key.size), "big")
        if 1 < x < key.n and math.gcd(x, key.n) == 1:
            break
        counter += 1
    blinded = (int.from_bytes(em, "big") * pow(x, 65537, key.n) % key.n).to_bytes(key.size, "big")
    return {"prk": prk, "credential_seed": seed, "credential_key": public, "credential_message": message, "pss_salt": salt,
            "encoded_message": em, "blinding_counter": counter, "blinding_factor": x.to_bytes(key.size, "big"),
            "blinded": blinded, "blinded_digest": hashlib.sha256(blinded).digest()}


def finalize(key: PublicKey, message: bytes, blind_signature: bytes, factor: int) -> bytes | None:
    """RFC 9474 Finalize: unblind, and give the signature only where it verifies."""
    if len(blind_signature) != key.size:
        return None
    value = int.from_bytes(blind_signature, "big")
    if value >= key.n:
        return None
    signature = (value * pow(factor, -1, key.n) % key.n).to_bytes(key.size, "big")
    return signature if key.verify(message, signature) else None


def credential_message(election: bytes, credential_key: bytes) -> bytes:
    """Section 3: label `tallyroot/v1/credential`, body the credential key."""
    return b"tallyroot/v1/credential\0" + election + credential_key
