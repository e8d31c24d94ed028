"""The costly end of a drill: sign bundles of credentials that are in force, and throw them away.

It tells how long a city would wait for codes of the new key, with the register and the machine it has.
"""

import random
import time
from collections.abc import Callable
from typing import Protocol

from issuer.errors import FailedPrecondition
from issuer.keys.ring import KeyRing
from issuer.register.credentials import Credentials
from issuer.register.entries import CredentialEntry, CredentialStanding
from issuer.signing import Credential, sign_bundle, windows_of
from verifier.wire.code import CredentialKind

# An hour: what a phone fetches that is in reach of the network.
WINDOWS_A_BUNDLE = 120

_PAGE = 1_000
# Whoever approves a drill waits for it.
_MAX_S = 60.0


class Reissue(Protocol):
    """Signs bundles anew."""

    def __call__(self, bundle_count: int) -> str:
        """Sign up to that many; return a line that says how it went."""


class BundleReissue:
    """Signs for the active PHONE credentials with the lowest indices."""

    def __init__(
        self,
        *,
        credentials: Credentials,
        ring: KeyRing,
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` gives Unix seconds."""
        self._credentials = credentials
        self._ring = ring
        self._clock = clock
        self._monotonic = monotonic
        self._rng = random.SystemRandom()

    def __call__(self, bundle_count: int) -> str:
        """Sign up to that many; return a line that says how it went."""
        began_s = self._monotonic()
        bundles = codes = after_index = 0
        signed_by: set[str] = set()
        has_more = True
        while has_more and bundles < bundle_count and self._monotonic() < began_s + _MAX_S:
            page = self._credentials.page(
                limit=min(_PAGE, bundle_count - bundles),
                after_index=after_index,
                kind=CredentialKind.PHONE,
                state=CredentialStanding.ACTIVE,
            )
            has_more = page.has_more
            for entry in page.entries:
                after_index = entry.credential_index
                try:
                    codes += self._sign(entry, signed_by)
                except FailedPrecondition as refusal:
                    return f"bundles cannot be signed: {refusal}"
                bundles += 1
        taken_s = self._monotonic() - began_s
        rate = f", {codes / taken_s:,.0f} codes a second" if codes else ""
        fewer = f" of {bundle_count:,} asked for" if bundles < bundle_count else ""
        by = f", by key {' and '.join(sorted(signed_by))}" if signed_by else ""
        return f"{bundles:,} bundles{fewer} with {codes:,} codes signed and thrown away{rate}{by}"

    def _sign(self, entry: CredentialEntry, signed_by: set[str]) -> int:
        now = int(self._clock())
        signing = self._ring.current(now=now)
        credential = Credential(entry.kind, entry.credential_index, entry.generation, "", entry.valid_until)
        windows = windows_of(credential, window_count=WINDOWS_A_BUNDLE, now=now)
        if windows:
            self._ring.reserve(signing, windows[-1][1])
            sign_bundle(credential, windows, signing=signing, rng=self._rng)
            signed_by.add(signing.key_id.hex())
        return len(windows)
