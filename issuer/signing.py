"""Sign bundles: the codes of one credential for consecutive windows. Pure, given the key and a choice.

What we cannot verify ourselves must not be printed on forty thousand cards, so codes are run through the
verifier's own authenticate() before they are handed out, at the first second of their window and with no
allowance for clock skew: every PAPER code, and of a PHONE bundle one code, chosen at random. That is
enough because the codes of a bundle are made by the same steps from the same key, and differ in their
two times alone; a fault in a key, a key set or the format shows in each of them. To check every code
would cost twice what signing does.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from issuer.errors import UnsoundBundle
from issuer.key_store import KeyStore
from issuer.keys.ring import Signing
from verifier.authenticate import authenticate
from verifier.wire.code import (
    Code,
    CredentialKind,
    SignedCode,
    code_sig_structure,
    encode_claims,
    encode_qr_text,
)
from verifier.wire.errors import CodeError
from verifier.wire.key_set import KeySet

# A new code every half minute; each lives twice as long, so a code that was on the screen when the
# person raised the phone is still good at the gate.
ROTATION_S = 30
WINDOW_S = 60
# A card in the pocket outlives a key set. The key that signed it stays in the following ones.
PAPER_WINDOW_S = 180 * 86_400
# A day of rotation: what a phone fetches when it expects to be out of reach.
MAX_WINDOWS = 2_880


@dataclass(frozen=True, slots=True)
class Credential:
    """What a bundle says about its credential."""

    kind: CredentialKind
    credential_index: int
    generation: int
    hint: str  # for PAPER; a PHONE code never carries one
    valid_until: int = 0  # Unix seconds; no window ends later. 0: it does not expire


@dataclass(frozen=True, slots=True)
class IssuedCode:
    """One code of a bundle. Its window is not_before <= now < expires_at."""

    qr_text: bytes  # ASCII
    not_before: int  # Unix seconds
    expires_at: int  # Unix seconds


def windows_of(credential: Credential, *, window_count: int, now: int) -> Sequence[tuple[int, int]]:
    """Return begin and end of 1 to 2 880 consecutive windows, the one that is current at `now` first.

    PAPER has one. There are fewer where the credential ends before, and none when it has ended.
    """
    first = now - now % ROTATION_S
    if credential.kind is CredentialKind.PAPER:
        windows = [(first, first + PAPER_WINDOW_S)]
    else:
        begins = range(first, first + window_count * ROTATION_S, ROTATION_S)
        windows = [(begin, begin + WINDOW_S) for begin in begins]
    end = credential.valid_until
    if not end or windows[-1][1] <= end:
        return windows
    return [(begin, min(expires_at, end)) for begin, expires_at in windows if begin < end and now < end]


def sign_bundle(
    credential: Credential, windows: Sequence[tuple[int, int]], *, signing: Signing, rng: random.Random
) -> Sequence[IssuedCode]:
    """Return the codes of a credential for these windows, in their order.

    `rng` chooses the code to check. The caller has reserved the last end (KeyRing.reserve). Raises
    UnsoundBundle when a code does not authenticate with the key set of `signing`.
    """
    key, key_id = signing.key, signing.key_id
    hint = credential.hint if credential.kind is CredentialKind.PAPER else ""
    codes = [
        Code(
            credential.kind, credential.credential_index, credential.generation, not_before, expires_at, hint
        )
        for not_before, expires_at in windows
    ]
    signed = [
        IssuedCode(sign_code(code, key=key, key_id=key_id), code.not_before, code.expires_at)
        for code in codes
    ]
    checked = range(len(codes)) if credential.kind is CredentialKind.PAPER else (rng.randrange(len(codes)),)
    for number in checked:
        _require_sound(signed[number], codes[number], signing.key_set)
    return signed


def sign_code(code: Code, *, key: KeyStore, key_id: bytes) -> bytes:
    """Return the QR text of a code, signed by `key` under the name `key_id`; raises ClaimsError."""
    payload = encode_claims(code)
    signature = key.sign(code_sig_structure(key_id, payload))
    return encode_qr_text(SignedCode(key_id, payload, signature))


def _require_sound(issued: IssuedCode, code: Code, key_set: KeySet) -> None:
    try:
        read_back = authenticate(issued.qr_text, key_set, issued.not_before, clock_skew_s=0)
    except CodeError as error:
        raise UnsoundBundle(
            f"a code that was just signed does not authenticate: {type(error).__name__}"
        ) from None
    if read_back != code:
        raise UnsoundBundle("a code that was just signed says something else")
