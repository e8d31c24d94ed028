"""Answers for tests, as short as the test needs them."""

from dataclasses import replace

from verifier.client import Answer
from verifier.verdict import Verdict
from verifier.wire.code import CredentialKind
from verifier.wire.status_record import Colour

NOW = 1_700_000_000


def answer(
    verdict: Verdict | None, kind: CredentialKind | None = CredentialKind.PHONE, **known: object
) -> Answer:
    """Return an answer of which nothing is known but what is given."""
    plain = Answer(
        scan_id="scan-1",
        verdict=verdict,
        colour=Colour.NONE,
        colour_reason=0,
        last_negative_test=None,
        kind=kind,
        hint="",
        code_age_s=0,
        status_age_ms=100,
        verified_at_ms=NOW * 1_000,
    )
    return replace(plain, **known)  # type: ignore[arg-type]
