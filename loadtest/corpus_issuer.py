"""A corpus of a running issuer: people who do not exist are enrolled there, and their bundles are fetched.

Codes of an issuer rotate, so the corpus has a slot for each rotation, and each verdict in it holds all
through its slot. What an issuer would never sign is made of what it has signed.
"""

import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
from rich.progress import Progress

from issuer.key_store import SecretKeyStore
from issuer.signing import MAX_WINDOWS, ROTATION_S, WINDOW_S
from issuer.v1 import admin_pb2, issuer_pb2
from loadtest.corpus_city import Made, Tally
from loadtest.corpus_file import Slot, write_corpus
from loadtest.mix import share_out
from loadtest.residents import Resident, Staff, enrol
from loadtest.specimens import Enrolled, Specimens
from verifier.authenticate import CLOCK_SKEW_S
from verifier.verdict import Verdict
from verifier.wire.code import decode_qr_text
from verifier.wire.status_record import Colour

# Half a minute more than the skew, for verifiers whose clock is not the issuer's, in rotations: a code that
# begins so many before a slot is over all through it, and one that begins so many after is to come.
_CLOCKS_DIFFER_S = 30
_OVER = -(-(WINDOW_S + CLOCK_SKEW_S + _CLOCKS_DIFFER_S) // ROTATION_S)
_TO_COME = 1 + -(-(CLOCK_SKEW_S + _CLOCKS_DIFFER_S) // ROTATION_S)
# What is fetched beyond: to choose from among codes to come, and for the time until the file is written.
_SPARE = 4
_S_PER_CODE = 1e-4
_BUNDLES_PER_CALL = 500
# More take more memory than a generator has, and better come from a key of its own.
MAX_CODES = 3_000_000
# Each is a call; and an issuer lets nobody suspend a whole city.
_MOST_CHANGED = {Verdict.SUSPENDED: 20, Verdict.REVOKED: 20, Verdict.REPLACED: 200}
_RESIDENTS = {
    "green": Verdict.GREEN,
    "yellow": Verdict.YELLOW,
    "red": Verdict.RED,
    "unheard-of": Verdict.NO_STATUS,
    "suspended": Verdict.SUSPENDED,
    "revoked": Verdict.REVOKED,
    "replaced": Verdict.REPLACED,
}
_COLOURS = {
    Verdict.YELLOW: Colour.YELLOW,
    Verdict.RED: Colour.RED,
    Verdict.NO_STATUS: Colour.NONE,
}


class IssuerRefused(Exception):
    """An issuer did not do what a corpus needs; the message is for people."""


class TooManyCodes(Exception):
    """More is asked for than an issuer signs at once, or a generator holds; the message is for people."""


def _windows_for(seconds: float, holders: int) -> int:
    """Return how many windows have to be fetched; raises TooManyCodes."""
    needed = -(-int(seconds) // ROTATION_S) + 1 + _TO_COME + _SPARE
    windows = needed + int(holders * needed * _S_PER_CODE / ROTATION_S)
    if windows > MAX_WINDOWS or windows * holders > MAX_CODES:
        raise TooManyCodes(
            f"{holders:,} holders for {seconds / 60:,.0f} minutes are {holders * windows:,} codes: expected "
            f"a day's and {MAX_CODES:,} at most; ask for fewer, or for those of a city (--city)"
        )
    return windows


def corpus_of_issuer(
    staff: Staff,
    path: Path,
    *,
    holders: int,
    seconds: float,
    mix: Mapping[str, int],
    progress: Progress | None = None,
    rng: random.Random | None = None,
) -> Made:
    """Enrol `holders` and write a corpus of their codes, good for `seconds` from when it is written.

    Each slot has as many scans as there are holders. Raises TooManyCodes, IssuerRefused, OSError.
    """
    rng = rng or random.Random()
    progress = progress or Progress(disable=True)
    windows = _windows_for(seconds, holders)
    try:
        # 1. Everybody, with a colour; then their bundles; then what no bundle is signed for any more.
        groups = _enrol(staff, _people(holders, mix), progress)
        everybody = [one for group in groups.values() for one in group]
        bundles = _fetch(staff, everybody, windows, progress)
        _change(staff, groups)
    except grpc.RpcError as error:
        raise IssuerRefused(f"the issuer refused: {error.code().name}: {error.details()}") from None
    # 2. The rotations for which all have codes.
    first = max(bundle.begin for bundle in bundles.values())
    end = min(bundle.end for bundle in bundles.values()) - _TO_COME * ROTATION_S
    begins = range(first, end, ROTATION_S)
    # 3. A slot for each.
    showing = [one for one in everybody if one.verdict is not Verdict.REPLACED]
    tally = Tally(progress, len(begins) * holders)
    stranger = SecretKeyStore(rng.randbytes(32))

    def slots() -> Iterator[Slot]:
        for begin in begins:
            source = _BundleSource(bundles, groups.get(Verdict.REPLACED, ()), begin, rng)
            specimens = Specimens(source, population=showing, groups=groups, stranger=stranger, rng=rng)
            scans = specimens.make(holders, _possible(mix, begin - first))
            yield Slot(tally.count(scans), begin, begin + ROTATION_S)

    write_corpus(path, slots())
    return Made(path, tally.counts, first, end, 1, len(begins), _notes(mix, holders, seconds, end))


def _possible(mix: Mapping[str, int], age_s: int) -> Mapping[str, int]:
    """Return the mix without expired codes as long as the bundles have none, and green ones for them."""
    if not mix.get("expired") or age_s >= _OVER * ROTATION_S:
        return mix
    others = {kind: parts for kind, parts in mix.items() if kind != "expired"}
    return {**others, "green": others.get("green", 0) + mix["expired"]}


def _people(holders: int, mix: Mapping[str, int]) -> Mapping[Verdict, int]:
    """Return how many people there are to be of each verdict: at least one for each kind of the mix."""
    parts = {kind: mix.get(kind, 0) for kind in _RESIDENTS}
    parts["green"] = max(1, parts["green"] + mix.get("current", 0))
    shares = share_out(parts, holders)
    numbers = {
        verdict: min(max(1, shares[kind]), _MOST_CHANGED.get(verdict, holders))
        for kind, verdict in _RESIDENTS.items()
        if parts[kind]
    }
    others = sum(number for verdict, number in numbers.items() if verdict is not Verdict.GREEN)
    return {**numbers, Verdict.GREEN: max(1, holders - others)}


def _enrol(
    staff: Staff, people: Mapping[Verdict, int], progress: Progress
) -> Mapping[Verdict, list[Enrolled]]:
    """Enrol people, and return them by the verdict that they will get."""
    # The register has each document once, and this may not be the first corpus of this issuer.
    run = secrets.token_hex(6)
    verdicts = [verdict for verdict, number in people.items() for _ in range(number)]
    residents = [
        Resident(f"张小{number}", "ID", f"load-{run}-{number}", "north", _COLOURS.get(verdict, Colour.GREEN))
        for number, verdict in enumerate(verdicts)
    ]
    task = progress.add_task("Enrolling people", total=len(residents))
    enrolled = enrol(staff, residents, lambda count: progress.advance(task, count))
    groups: dict[Verdict, list[Enrolled]] = {verdict: [] for verdict in people}
    for one, verdict in zip(enrolled, verdicts, strict=True):
        groups[verdict].append(Enrolled(one.credential_index, one.generation, one.kind, verdict))
    return groups


@dataclass(frozen=True, slots=True)
class _Bundle:
    """The codes of consecutive windows."""

    begin: int  # Unix seconds
    codes: Sequence[bytes]

    @property
    def end(self) -> int:
        """Where the rotation after the last one begins."""
        return self.begin + len(self.codes) * ROTATION_S


def _fetch(
    staff: Staff, everybody: Sequence[Enrolled], windows: int, progress: Progress
) -> Mapping[int, _Bundle]:
    """Return the bundles by credential_index."""
    task = progress.add_task("Fetching bundles", total=len(everybody))
    bundles: dict[int, _Bundle] = {}
    for start in range(0, len(everybody), _BUNDLES_PER_CALL):
        indices = [one.credential_index for one in everybody[start : start + _BUNDLES_PER_CALL]]
        request = issuer_pb2.IssueBundlesRequest(credential_indices=indices, window_count=windows)
        for answer in staff.clerk.issuer.IssueBundles(request):
            if answer.HasField("refusal"):
                reason = issuer_pb2.BundleRefusalReason.Name(answer.refusal.reason)
                raise IssuerRefused(f"the issuer refused a bundle: {reason}")
            codes = answer.bundle.codes
            bundle = _Bundle(codes[0].not_before, [code.qr_text.encode() for code in codes])
            if codes[-1].not_before != bundle.end - ROTATION_S:
                raise IssuerRefused("the issuer signed other windows than expected")
            bundles[answer.credential_index] = bundle
            progress.advance(task, 1)
    return bundles


def _change(staff: Staff, groups: Mapping[Verdict, Sequence[Enrolled]]) -> None:
    """Replace, suspend and revoke those who are to be."""
    admin = staff.clerk.admin
    changes: Mapping[Verdict, Callable[[int], object]] = {
        Verdict.REPLACED: lambda index: admin.ReplaceCredential(
            admin_pb2.ReplaceCredentialRequest(credential_index=index)
        ),
        Verdict.SUSPENDED: lambda index: admin.SuspendCredential(
            admin_pb2.SuspendCredentialRequest(credential_index=index)
        ),
        Verdict.REVOKED: lambda index: admin.RevokeCredential(
            admin_pb2.RevokeCredentialRequest(credential_index=index)
        ),
    }
    for verdict, change in changes.items():
        for one in groups.get(verdict, ()):
            change(one.credential_index)


class _BundleSource:
    """Codes that are right to show from `begin`, Unix seconds, for one rotation."""

    def __init__(
        self,
        bundles: Mapping[int, _Bundle],
        replaced: Sequence[Enrolled],
        begin: int,
        rng: random.Random,
    ) -> None:
        self._bundles = bundles
        self._old = replaced
        self._begin = begin
        self._rng = rng

    def current(self, enrolled: Enrolled) -> bytes:
        codes, number = self._place(enrolled)
        return codes[number]

    def claims(self, enrolled: Enrolled) -> tuple[bytes, bytes]:
        signed = decode_qr_text(self.current(enrolled))
        return signed.key_id, signed.payload

    def expired(self, enrolled: Enrolled) -> bytes:
        codes, number = self._place(enrolled)
        return codes[self._rng.randint(0, number - _OVER)]

    def future(self, enrolled: Enrolled) -> bytes:
        codes, number = self._place(enrolled)
        return codes[self._rng.randint(number + _TO_COME, len(codes) - 1)]

    def replaced(self) -> tuple[bytes, Verdict]:
        return self.current(self._rng.choice(self._old)), Verdict.REPLACED

    def _place(self, enrolled: Enrolled) -> tuple[Sequence[bytes], int]:
        bundle = self._bundles[enrolled.credential_index]
        return bundle.codes, (self._begin - bundle.begin) // ROTATION_S


def _notes(mix: Mapping[str, int], holders: int, seconds: float, end: int) -> tuple[str, ...]:
    notes = [
        f"at most {holders:,} codes every {ROTATION_S} s, which each site shows in an order of its own: "
        "start verifiers with --known-codes 0, or they may know a code already, unlike at a gate"
    ]
    if mix.get("expired"):
        notes.append(f"the first {_OVER * ROTATION_S} s have no expired codes yet, but more green ones")
    if end - time.time() < seconds:
        notes.append("making it took so long that it is not good for as long as was asked for")
    return tuple(notes)
