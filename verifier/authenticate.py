"""Tell whether a QR text is an authentic code that is valid now. Pure: no clock, no I/O.

The issuer runs the same function on what it has signed, before handing it out.
"""

from verifier.wire.code import Code, code_sig_structure, decode_claims, decode_qr_text
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
    signed = decode_qr_text(qr_text)
    key = key_set.keys.get(signed.key_id)
    if key is None:
        raise UnknownKey("expected a key in the key set")
    if not key.verifies(signed.signature, code_sig_structure(signed.key_id, signed.payload)):
        raise BadSignature("expected a signature by the key named")
    code = decode_claims(signed.payload)
    if now < code.not_before - clock_skew_s:
        raise NotYetValid(f"begins in {code.not_before - now} s", code)
    if now >= code.expires_at + clock_skew_s:
        raise Expired(f"ended {now - code.expires_at} s ago", code)
    return code
