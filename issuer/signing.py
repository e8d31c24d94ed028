"""Sign bundles: the codes of one credential for consecutive windows. Pure, given the key.

Every code is run through the verifier's own authenticate() before it is handed out, at the first second
of its window and with no allowance for clock skew. What we cannot verify ourselves must not be printed
on forty thousand cards.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from issuer.errors import UnsoundBundle
from issuer.key_store import KeyStore, key_id_of
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


@dataclass(frozen=True, slots=True)
class IssuedCode:
    """One code of a bundle. Its window is not_before <= now < expires_at."""

    qr_text: bytes  # ASCII
    not_before: int  # Unix seconds
    expires_at: int  # Unix seconds


def sign_bundle(
    credential: Credential, *, window_count: int, key: KeyStore, key_set: KeySet, now: int
) -> Sequence[IssuedCode]:
    """Return the codes of a credential for 1 to 2 880 windows, the current one first; PAPER has one.

    `now` is Unix seconds. Raises UnsoundBundle when a code does not authenticate with `key_set`.
    """
    key_id = key_id_of(key)
    return [
        _sign(credential, not_before, expires_at, key=key, key_id=key_id, key_set=key_set)
        for not_before, expires_at in _windows(credential.kind, window_count, now)
    ]


def sign_code(code: Code, *, key: KeyStore, key_id: bytes) -> bytes:
    """Return the QR text of a code, signed by `key` under the name `key_id`; raises ClaimsError."""
    payload = encode_claims(code)
    signature = key.sign(code_sig_structure(key_id, payload))
    return encode_qr_text(SignedCode(key_id, payload, signature))


def _windows(kind: CredentialKind, window_count: int, now: int) -> list[tuple[int, int]]:
    first = now - now % ROTATION_S
    if kind is CredentialKind.PAPER:
        return [(first, first + PAPER_WINDOW_S)]
    return [
        (begin, begin + WINDOW_S) for begin in range(first, first + window_count * ROTATION_S, ROTATION_S)
    ]


def _sign(
    credential: Credential, not_before: int, expires_at: int, *, key: KeyStore, key_id: bytes, key_set: KeySet
) -> IssuedCode:
    code = Code(
        kind=credential.kind,
        credential_index=credential.credential_index,
        generation=credential.generation,
        not_before=not_before,
        expires_at=expires_at,
        hint=credential.hint if credential.kind is CredentialKind.PAPER else "",
    )
    qr_text = sign_code(code, key=key, key_id=key_id)
    try:
        read_back = authenticate(qr_text, key_set, not_before, clock_skew_s=0)
    except CodeError as error:
        raise UnsoundBundle(
            f"a code that was just signed does not authenticate: {type(error).__name__}"
        ) from None
    if read_back != code:
        raise UnsoundBundle("a code that was just signed says something else")
    return IssuedCode(qr_text, not_before, expires_at)
