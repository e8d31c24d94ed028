"""What a crowd holds under the scanners: kinds of scans, and the mixes of them that we use.

Imports nothing of gRPC or the issuer. loadtest/corpus.py makes each kind.
"""

from collections.abc import Mapping
from types import MappingProxyType

# What people are told about each kind.
KINDS: Mapping[str, str] = MappingProxyType(
    {
        "green": "a current code of somebody green",
        "yellow": "a current code of somebody yellow",
        "red": "a current code of somebody red",
        "suspended": "a current code of a suspended credential",
        "revoked": "a current code of a revoked credential",
        "unheard-of": "a current code of a credential without a status",
        "current": "a current code of anybody",
        "expired": "a screenshot: a code whose window is over",
        "future": "a phone whose clock is fast: a window to come",
        "replaced": "a code of a card that was replaced",
        "stranger": "a code of an issuer that nobody knows",
        "forged": "a code that names our key and was signed with another",
        "altered": "a code of ours with one bit changed",
        "damaged": "a code of ours cut off, or in lower case",
        "foreign": "another QR code: a payment, a web address",
        "garbage": "random bytes, some behind our prefix",
    }
)
# Kinds that no honest person shows.
HOSTILE_KINDS = frozenset({"stranger", "forged", "altered", "damaged", "foreign", "garbage"})

# Equal parts of everything, for correctness.
EVERYTHING: Mapping[str, int] = MappingProxyType(dict.fromkeys(KINDS, 1))
# A guess at a morning at a busy gate: nearly everybody is honest, some phones are wrong, some are cheats.
GATE: Mapping[str, int] = MappingProxyType(
    {"green": 90, "yellow": 3, "red": 1}
    | {"expired": 2, "future": 1, "replaced": 1, "forged": 1, "foreign": 1}
)
# One in five is honest. The rest is what an attacker has: most of it costs the verifier a signature.
FLOOD: Mapping[str, int] = MappingProxyType(
    {"green": 18, "yellow": 1, "red": 1}
    | {"forged": 30, "altered": 15, "stranger": 5, "damaged": 10, "foreign": 5, "garbage": 15}
)
# The morning, and one in twenty that is no code at all.
SOAK: Mapping[str, int] = MappingProxyType(
    {kind: 19 * parts for kind, parts in GATE.items()} | {"garbage": 100}
)
MIXES: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {"gate": GATE, "flood": FLOOD, "soak": SOAK, "everything": EVERYTHING}
)
_MOST_PARTS = 1_000_000


class MixError(ValueError):
    """A mix that makes no sense; the message is for people."""


def parse_mix(text: str) -> Mapping[str, int]:
    """Return the mix of that name, or the one that `text` gives: kinds with their parts, green=94,expired=6.

    Raises MixError.
    """
    if text in MIXES:
        return MIXES[text]
    mix: dict[str, int] = {}
    for entry in text.split(","):
        kind, equals, parts = (one.strip() for one in entry.partition("="))
        if not equals:
            raise MixError(f"expected {', '.join(MIXES)} or KIND=PARTS,KIND=PARTS, got {entry!r}")
        if kind not in KINDS:
            raise MixError(f"there is no kind {kind!r}: expected {', '.join(KINDS)}")
        if kind in mix:
            raise MixError(f"{kind} is in the mix twice")
        if not (parts.isascii() and parts.isdigit()) or int(parts[:8]) > _MOST_PARTS:
            raise MixError(f"expected {kind}=0 to {kind}={_MOST_PARTS}, whole numbers, got {parts!r}")
        mix[kind] = int(parts)
    if not any(mix.values()):
        raise MixError("expected a part of something: all parts are 0")
    return mix


def share_out(mix: Mapping[str, int], count: int) -> Mapping[str, int]:
    """Return how many of `count` each kind gets: its share, the rest going to those that lost most by it."""
    total = sum(mix.values())
    shares = {kind: count * parts // total for kind, parts in mix.items()}
    by_loss = sorted(mix, key=lambda kind: count * mix[kind] % total, reverse=True)
    for kind in by_loss[: count - sum(shares.values())]:
        shares[kind] += 1
    return shares
