"""Tell whether a QR text is an authentic code that is valid now. Pure: no clock, no I/O.

The issuer runs the same function on what it has signed, before handing it out.
"""

from verifier.wire.code import Code, code_sig_structure, decode_claims, decode_qr_text
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.errors import BadSignature, Expired, NotYetValid, UnknownKey
from verifier.wire.key_set import KeySet

# Phones keep time to a second or two, printed cards and verifiers as well; the rest is for the kiosk
# whose time server was unplugged. A screenshot lives for its window and this: 90 s.
CLOCK_SKEW_S = 30


def authenticate(qr_text: bytes, key_set: KeySet, now: int, *, clock_skew_s: int = CLOCK_SKEW_S) -> Code:
    """Return the code that `qr_text` carries, `now` being Unix seconds.

    Raises the first of these that applies, in this order: MalformedCode for the text and the envelope,
    UnknownKey, BadSignature, MalformedCode for the claims, NotYetValid, Expired. Never raises anything
    else. No claim is read before the signature is found right. The window is
    not_before - skew <= now < expires_at + skew.
    """
    code, _, _ = open_code(qr_text, key_set)
    check_window(code, now, clock_skew_s=clock_skew_s)
    return code


def open_code(qr_text: bytes, key_set: KeySet) -> tuple[Code, bytes, VerifyingKey]:
    """Return the code whose signature is right, whatever its window, with the key_id and key that signed it.

    Raises MalformedCode, UnknownKey or BadSignature, in the order of authenticate().
    """
    key_id, payload, signature = decode_qr_text(qr_text)
    key = key_set.keys.get(key_id)
    if key is None:
        raise UnknownKey("expected a key in the key set")
    if not key.verifies(signature, code_sig_structure(key_id, payload)):
        raise BadSignature("expected a signature by the key named")
    return decode_claims(payload), key_id, key


def check_window(code: Code, now: int, *, clock_skew_s: int = CLOCK_SKEW_S) -> None:
    """Raise NotYetValid or Expired for a code whose window, widened by the skew, does not hold `now`."""
    if now < code.not_before - clock_skew_s:
        raise NotYetValid(f"begins in {code.not_before - now} s", code)
    if now >= code.expires_at + clock_skew_s:
        raise Expired(f"ended {now - code.expires_at} s ago", code)
