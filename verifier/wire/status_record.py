"""The status record: the 64 bits that a verifier knows of a credential.

    bits 0-1   colour       0 none, 1 green, 2 yellow, 3 red
    bits 2-3   state        0 none, 1 active, 2 suspended, 3 revoked
    bits 4-11  generation   modulo 256
    bits 12-15 zero
    bits 16-31 reason code
    bits 32-63 last negative test, Unix minutes; 0 none

Stored little-endian. 0 means "never heard of" and is never green. The law: bits keep their meaning;
the zero bits get one only in a release that every verifier runs.
"""

from enum import IntEnum
from typing import NamedTuple

from verifier.wire.errors import StatusError

RECORD_BYTES = 8
NEVER_HEARD_OF = 0
# Generations are compared modulo this; the issuer refuses the replacement that would wrap.
GENERATION_MODULUS = 256

_RESERVED = 0xF000


class Colour(IntEnum):
    """The colour decided for a holder; the numbers are those of the record and of verifier.proto."""

    NONE = 0
    GREEN = 1
    YELLOW = 2
    RED = 3


class CredentialState(IntEnum):
    """Where a credential stands; the numbers are those of the record and of issuer.proto."""

    NONE = 0
    ACTIVE = 1
    SUSPENDED = 2
    REVOKED = 3


_COLOURS = tuple(Colour)
_STATES = tuple(CredentialState)


class StatusRecord(NamedTuple):
    """One status record, taken apart. A tuple, for speed, as verifier.wire.code.Code is."""

    colour: Colour
    state: CredentialState
    generation: int  # modulo 256
    reason: int = 0  # 0 to 65 535; 0 none given
    last_negative_test_min: int = 0  # Unix minutes under 2**32; 0 none known


def pack(record: StatusRecord) -> int:
    """Return the 64 bits of a record; raises StatusError for a field out of range."""
    if not 0 <= record.generation < GENERATION_MODULUS:
        raise StatusError("expected a generation under 256")
    if not 0 <= record.reason < 1 << 16:
        raise StatusError("expected a reason code under 2**16")
    if not 0 <= record.last_negative_test_min < 1 << 32:
        raise StatusError("expected a last negative test under 2**32 minutes")
    return (
        record.colour
        | record.state << 2
        | record.generation << 4
        | record.reason << 16
        | record.last_negative_test_min << 32
    )


def unpack(bits: int) -> StatusRecord:
    """Take 64 bits apart; raises StatusError where bits 12-15 are not zero."""
    if bits & _RESERVED:
        raise StatusError("expected bits 12-15 to be zero")
    return StatusRecord(
        _COLOURS[bits & 3],
        _STATES[bits >> 2 & 3],
        bits >> 4 & 0xFF,
        bits >> 16 & 0xFFFF,
        bits >> 32,
    )
