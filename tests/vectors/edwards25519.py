"""The group of Ed25519 (RFC 8032, section 5.1) in plain integers, to build signatures at its edges.

Affine, slow and not constant in time: it makes test vectors and tells which verification equation a
signature satisfies. Points may have any order, and encodings need not be canonical.
"""

import hashlib
from dataclasses import dataclass

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, P) % P
_SQRT_MINUS_1 = pow(2, (P - 1) // 4, P)


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the curve, of any order."""

    x: int
    y: int

    def __add__(self, other: "Point") -> "Point":
        product = _D * self.x * other.x * self.y * other.y
        return Point(
            (self.x * other.y + self.y * other.x) * pow(1 + product, -1, P) % P,
            (self.y * other.y + self.x * other.x) * pow(1 - product, -1, P) % P,
        )

    def __neg__(self) -> "Point":
        return Point(-self.x % P, self.y)

    def __rmul__(self, scalar: int) -> "Point":
        result, power = IDENTITY, self
        while scalar:
            if scalar & 1:
                result += power
            power += power
            scalar >>= 1
        return result

    def encode(self) -> bytes:
        """Return the canonical encoding, 32 bytes."""
        return (self.y | (self.x & 1) << 255).to_bytes(32, "little")


IDENTITY = Point(0, 1)


def decode(encoded: bytes) -> Point | None:
    """Return the point that 32 bytes stand for, canonical or not; None where the curve has no such point."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number % 2**255 % P
    ratio = (y * y - 1) * pow(_D * y * y + 1, -1, P) % P
    x = pow(ratio, (P + 3) // 8, P)
    if x * x % P != ratio:
        x = x * _SQRT_MINUS_1 % P
    if x * x % P != ratio:
        return None
    return Point(-x % P if x & 1 != sign else x, y)


def _point_at(y: int) -> Point:
    point = decode(y.to_bytes(32, "little"))
    if point is None:
        raise ValueError("expected the y of a point")
    return point


BASE = _point_at(4 * pow(5, -1, P) % P)
# L times any point is its torsion part; y = 3 gives one of order 8, so its multiples are all eight.
TORSION = tuple(multiple * (L * _point_at(3)) for multiple in range(8))


def challenge(r: bytes, public_key: bytes, message: bytes) -> int:
    """Return the k of RFC 8032, section 5.1.7, reduced modulo L."""
    return int.from_bytes(hashlib.sha512(r + public_key + message).digest(), "little") % L


def equations(public_key: bytes, message: bytes, signature: bytes) -> frozenset[str]:
    """Tell which of SB = R + kA (`cofactorless`) and 8SB = 8R + 8kA (`cofactored`) hold.

    S may be L or more, the points small and their encodings not canonical: this is the arithmetic alone.
    """
    a, r = decode(public_key), decode(signature[:32])
    if a is None or r is None:
        return frozenset()
    s = int.from_bytes(signature[32:], "little")
    difference = s * BASE + -(r + challenge(signature[:32], public_key, message) * a)
    held = {"cofactorless": difference == IDENTITY, "cofactored": 8 * difference == IDENTITY}
    return frozenset(name for name, holds in held.items() if holds)
