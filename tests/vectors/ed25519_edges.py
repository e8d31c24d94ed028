"""Ed25519 signatures at the edges, where correct libraries disagree.

Our own signatures in the twelve classes of "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko,
SSR 2020, table 5), every small-order key, and the plain mistakes. Each is as close to valid as its
class allows: what the arithmetic says of it (`equations`) is computed and tested, so that none is refused
for the wrong reason.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

from tests.vectors.edwards25519 import BASE, IDENTITY, TORSION, L, P, Point, challenge

_T = TORSION[1]  # of order 8
# Second encodings of small points: x = 0 with the sign bit set, and y not reduced modulo p.
_MINUS_ONE_SIGNED = ((P - 1) | 1 << 255).to_bytes(32, "little")
_ONE_SIGNED = (1 | 1 << 255).to_bytes(32, "little")
_ZERO_UNREDUCED = P.to_bytes(32, "little")
_ONE_UNREDUCED = (P + 1).to_bytes(32, "little")
_NOT_ON_CURVE = (2).to_bytes(32, "little")


@dataclass(frozen=True, slots=True)
class Edge:
    """One signature and the answer that we rely on."""

    name: str
    public_key: bytes
    message: bytes
    signature: bytes
    accepted: bool
    equations: frozenset[str]  # of tests.vectors.edwards25519.equations


_BOTH = frozenset({"cofactorless", "cofactored"})
_COFACTORED = frozenset({"cofactored"})
_NEITHER = frozenset[str]()


def edges() -> Iterator[Edge]:
    """Make all of them, in the order in which they are written down."""
    yield from _of_the_paper()
    yield from _small_order_keys()
    yield from _other_encodings()
    yield from _plain()


def _scalar(label: str) -> int:
    return int.from_bytes(hashlib.sha512(f"gatelight test scalar: {label}".encode()).digest(), "little") % L


_A, _R = _scalar("key"), _scalar("nonce")


def _message(label: str, fits: Callable[[bytes], bool]) -> bytes:
    """Return the first of numbered messages that `fits`; which torsion a hash hits is left to chance."""
    return next(text for n in count() if fits(text := f"{label}, try {n}".encode()))


def _pack(r: bytes, s: int) -> bytes:
    return r + s.to_bytes(32, "little")


def _edge(
    name: str,
    *,
    key: bytes,
    r: bytes,
    secret: int,
    torsion_sum: Callable[[int], Point],
    wanted: Callable[[Point], bool] = lambda torsion: torsion == IDENTITY,
    hashed_key: bytes | None = None,
    hashed_r: bytes | None = None,
    nonce: int = 0,
    accepted: bool = False,
    equations: frozenset[str] = _BOTH,
) -> Edge:
    """Sign with what is known of key and nonce, on a message whose challenge k makes the torsion fit.

    `secret` and `nonce` are the parts of A and R along the base point; `torsion_sum` tells the torsion of
    R + kA for a k. `hashed_key` and `hashed_r` are what is hashed where it is not what is sent.
    """

    def k_of(message: bytes) -> int:
        return challenge(hashed_r or r, hashed_key or key, message)

    message = _message(name, lambda text: wanted(torsion_sum(k_of(text))))
    s = (nonce + k_of(message) * secret) % L
    return Edge(name, key, message, _pack(r, s), accepted, equations)


def _of_the_paper() -> Iterator[Edge]:
    pure_key, mixed_key = (_A * BASE).encode(), (_A * BASE + _T).encode()
    pure_r, mixed_r = (_R * BASE).encode(), (_R * BASE + _T).encode()
    small = _T.encode()
    yield _edge(
        "00 small A, small R, S = 0", key=small, r=small, secret=0, torsion_sum=lambda k: _T + (k % 8) * _T
    )
    yield _edge(
        "01 small A, mixed R",
        key=small,
        r=mixed_r,
        secret=0,
        nonce=_R,
        torsion_sum=lambda k: _T + (k % 8) * _T,
    )
    yield _edge(
        "02 mixed A, small R", key=mixed_key, r=small, secret=_A, torsion_sum=lambda k: _T + (k % 8) * _T
    )
    yield _edge(
        "03 mixed A, mixed R, cofactorless holds",
        key=mixed_key,
        r=mixed_r,
        secret=_A,
        nonce=_R,
        torsion_sum=lambda k: _T + (k % 8) * _T,
        accepted=True,
    )
    yield _edge(
        "04 mixed A, mixed R, only cofactored holds",
        key=mixed_key,
        r=mixed_r,
        secret=_A,
        nonce=_R,
        torsion_sum=lambda k: _T + (k % 8) * _T,
        wanted=lambda torsion: torsion != IDENTITY,
        equations=_COFACTORED,
    )
    yield _edge(
        "05 mixed A, only cofactored holds, and not with 8k reduced first",
        key=mixed_key,
        r=pure_r,
        secret=_A,
        nonce=_R,
        torsion_sum=lambda k: (8 * k % L % 8) * _T,
        wanted=lambda torsion: torsion != IDENTITY,
        equations=_COFACTORED,
    )
    honest = _edge("06 S + L", key=pure_key, r=pure_r, secret=_A, nonce=_R, torsion_sum=lambda _: IDENTITY)
    s = int.from_bytes(honest.signature[32:], "little")
    yield Edge(honest.name, pure_key, honest.message, _pack(pure_r, s + L), False, _BOTH)
    yield Edge("07 S + 8L, top bit set", pure_key, honest.message, _pack(pure_r, s + 8 * L), False, _BOTH)
    two = TORSION[4]
    for name, hashed_r in (
        ("08 R not canonical, reduced for the hash", two.encode()),
        ("09 R not canonical, hashed as sent", _MINUS_ONE_SIGNED),
    ):
        sent_as_is = hashed_r == _MINUS_ONE_SIGNED
        yield _edge(
            name,
            key=mixed_key,
            r=_MINUS_ONE_SIGNED,
            hashed_r=hashed_r,
            secret=_A,
            torsion_sum=lambda k: two + (k % 8) * _T,
            equations=_BOTH if sent_as_is else _NEITHER,
        )
    for name, hashed_key in (
        ("10 A not canonical, reduced for the hash", two.encode()),
        ("11 A not canonical, hashed as sent", _MINUS_ONE_SIGNED),
    ):
        sent_as_is = hashed_key == _MINUS_ONE_SIGNED
        yield _edge(
            name,
            key=_MINUS_ONE_SIGNED,
            r=(_R * BASE + two).encode(),
            hashed_key=hashed_key,
            secret=0,
            nonce=_R,
            torsion_sum=lambda k: two + (k % 2) * two,
            # With S = nonce, eight times the equation holds for any k.
            equations=_BOTH if sent_as_is else _COFACTORED,
        )


def _small_order_keys() -> Iterator[Edge]:
    # Nobody has to know a secret for these: S = nonce fits every message, or one in a few.
    pure_r = (_R * BASE).encode()
    for multiple, point in enumerate(TORSION):
        yield _edge(
            f"key of small order, {multiple} times the generator of the torsion",
            key=point.encode(),
            r=pure_r,
            secret=0,
            nonce=_R,
            torsion_sum=lambda k, multiple=multiple: (k * multiple % 8) * _T,  # type: ignore[misc]
        )
    zero = bytes(32)
    yield _edge(
        "key and R of 32 zero bytes, S = 0",
        key=zero,
        r=zero,
        secret=0,
        torsion_sum=lambda k: (1 + k) % 4 * TORSION[_multiple_of(zero)],
    )


def _multiple_of(encoded: bytes) -> int:
    return next(multiple for multiple, point in enumerate(TORSION) if point.encode() == encoded)


def _other_encodings() -> Iterator[Edge]:
    pure_r = (_R * BASE).encode()
    mixed_key = (_A * BASE + _T).encode()
    for what, encoded, multiple in (
        ("y = p", _ZERO_UNREDUCED, _multiple_of(bytes(32))),
        ("y = p + 1", _ONE_UNREDUCED, 0),
        ("y = 1 with the sign bit", _ONE_SIGNED, 0),
    ):
        yield _edge(
            f"key not canonical, {what}",
            key=encoded,
            r=pure_r,
            secret=0,
            nonce=_R,
            torsion_sum=lambda k, multiple=multiple: (k * multiple % 8) * _T,  # type: ignore[misc]
        )
        yield _edge(
            f"R not canonical, {what}",
            key=mixed_key,
            r=encoded,
            secret=_A,
            torsion_sum=lambda k, multiple=multiple: ((multiple + k) % 8) * _T,  # type: ignore[misc]
        )


def _plain() -> Iterator[Edge]:
    key, r = (_A * BASE).encode(), (_R * BASE).encode()
    honest = _edge("honest", key=key, r=r, secret=_A, nonce=_R, torsion_sum=lambda _: IDENTITY, accepted=True)
    s = int.from_bytes(honest.signature[32:], "little")
    yield honest
    yield Edge("honest, another message", key, honest.message + b".", honest.signature, False, _NEITHER)
    yield Edge("honest, another key", r, honest.message, honest.signature, False, _NEITHER)
    yield Edge("S + 1", key, honest.message, _pack(r, s + 1), False, _NEITHER)
    yield Edge("S = 0", key, honest.message, _pack(r, 0), False, _NEITHER)
    yield Edge("S = L", key, honest.message, _pack(r, L), False, _NEITHER)
    yield Edge("-S", key, honest.message, _pack(r, L - s), False, _NEITHER)
    yield Edge(
        "R with its sign flipped", key, honest.message, _flip_sign(r) + honest.signature[32:], False, _NEITHER
    )
    yield Edge("key not on the curve", _NOT_ON_CURVE, honest.message, honest.signature, False, _NEITHER)
    yield Edge("R not on the curve", key, honest.message, _pack(_NOT_ON_CURVE, s), False, _NEITHER)
    yield Edge("64 zero bytes", key, honest.message, bytes(64), False, _NEITHER)
    yield Edge("64 bytes of ones", key, honest.message, b"\xff" * 64, False, _NEITHER)


def _flip_sign(encoded: bytes) -> bytes:
    return encoded[:31] + bytes([encoded[31] ^ 0x80])
