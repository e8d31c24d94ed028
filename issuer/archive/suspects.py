"""Suspected copies: one code, shown at two gates so soon that it must have been copied.

PHONE: the same code at two gates within its window. PAPER: one card at two gates faster than anyone walks.
Without a map of the gates that is one time for all (`--walk-s`). The lanes of a hub are one place.

Nothing is kept in memory: what belongs to the codes of a batch is looked up in the archive, where the batch
is already. So it does not matter in which order scans arrive, or whether the archive was restarted. A pair of
gates is reported once for a PHONE code; for a card, which lives for months, once a day.
"""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import pairwise

from issuer.register.scans import ScanRow
from issuer.register.showings import Code
from issuer.register.suspects import NewSuspect
from verifier.wire.code import CredentialKind

# Verifiers let a code in so long before and after its window, by their own clocks.
_SKEW_MS = 30_000
_DAY_MS = 86_400_000
_IDENTITY_BYTES = 16


def codes_of(rows: Iterable[ScanRow], *, walk_s: int) -> Sequence[Code]:
    """Return the codes that were shown in `rows` in their window, each with where and when to look."""
    codes: dict[bytes, Code] = {}
    for row in rows:
        if not row.is_showing:
            continue
        if row.kind == CredentialKind.PHONE:
            from_ms, to_ms = row.not_before * 1000 - _SKEW_MS, row.expires_at * 1000 + _SKEW_MS
        else:
            from_ms, to_ms = row.verified_at_ms - walk_s * 1000, row.verified_at_ms + walk_s * 1000
        known = codes.get(row.code_hash)
        if known is not None:
            from_ms, to_ms = min(from_ms, known.from_ms), max(to_ms, known.to_ms)
        gate = row.gate if known is None else known.gate
        codes[row.code_hash] = Code(row.credential_index, row.code_hash, gate, from_ms, to_ms)
    return list(codes.values())


def suspects_among(showings: Sequence[ScanRow], *, walk_s: int) -> Sequence[NewSuspect]:
    """Return the suspects among the showings of one code, in order of time.

    Neighbours are enough: between two showings at two gates there are two neighbours at two gates, and they
    are no further apart.
    """
    found: dict[bytes, NewSuspect] = {}
    for first, second in pairwise(showings):
        apart_ms = second.verified_at_ms - first.verified_at_ms
        if first.gate == second.gate or (second.kind == CredentialKind.PAPER and apart_ms > walk_s * 1000):
            continue
        suspect = NewSuspect(
            identity=_identity(first, second),
            credential_index=second.credential_index,
            kind=second.kind,
            first_gate_id=first.gate_id,
            first_at_ms=first.verified_at_ms,
            second_gate_id=second.gate_id,
            second_at_ms=second.verified_at_ms,
        )
        found.setdefault(suspect.identity, suspect)
    return list(found.values())


def _identity(first: ScanRow, second: ScanRow) -> bytes:
    day = 0 if second.kind == CredentialKind.PHONE else first.verified_at_ms // _DAY_MS
    one, other = sorted((first.gate, second.gate))
    content = b"%d:%d:%b%b%b" % (day, len(one), one, other, second.code_hash)
    return hashlib.blake2b(content, digest_size=_IDENTITY_BYTES).digest()
