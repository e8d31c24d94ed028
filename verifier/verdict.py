"""The verdict: the single answer to a scan. Pure.

Precedence, first that applies:
    MALFORMED, UNKNOWN_KEY, BAD_SIGNATURE, NOT_YET_VALID, EXPIRED    the code itself (verifier.authenticate)
    NO_STATUS       there is no record, so that no generation or state can be compared, or it makes no sense
    REPLACED        the record is of another generation
    SUSPENDED, REVOKED
    NO_STATUS       the credential is in force, but no colour was ever set
    RED, YELLOW     before any age: whoever is red is told so, however old the news; no YELLOW where the
                    policy lets yellow pass
    TEST_TOO_OLD, STATUS_TOO_OLD
    ALREADY_USED    one entry a window, asked last and of a green alone (verifier.access.entries)
    GREEN           what is left
A gate opens on GREEN and on nothing else, so in doubt every step above keeps it closed.
"""

from dataclasses import dataclass
from enum import IntEnum

from verifier.wire.code import Code
from verifier.wire.errors import (
    BadSignature,
    CodeError,
    Expired,
    MalformedCode,
    NotYetValid,
    StatusError,
    UnknownKey,
)
from verifier.wire.status_record import (
    GENERATION_MODULUS,
    NEVER_HEARD_OF,
    Colour,
    CredentialState,
    StatusRecord,
    unpack,
)


class Verdict(IntEnum):
    """The answers; the numbers are those of verifier.proto."""

    GREEN = 1
    YELLOW = 2
    RED = 3
    MALFORMED = 4
    UNKNOWN_KEY = 5
    BAD_SIGNATURE = 6
    NOT_YET_VALID = 7
    EXPIRED = 8
    REPLACED = 9
    SUSPENDED = 10
    REVOKED = 11
    NO_STATUS = 12
    TEST_TOO_OLD = 13
    STATUS_TOO_OLD = 14
    ALREADY_USED = 15


# Nobody's card is read twice by mistake for so long, and a shift is longer.
DEFAULT_PAPER_ENTRY_S = 900


@dataclass(frozen=True, slots=True)
class Policy:
    """What a gate asks of a green record. None asks nothing."""

    max_test_age_s: int | None = None
    max_status_age_s: float | None = None
    yellow_opens: bool = False
    is_one_entry: bool = False  # a code opens once in its window
    paper_entry_s: int = (
        DEFAULT_PAPER_ENTRY_S  # a PAPER card's window lasts for months: it opens once in this
    )


_BY_ERROR: dict[type[CodeError], Verdict] = {
    UnknownKey: Verdict.UNKNOWN_KEY,
    BadSignature: Verdict.BAD_SIGNATURE,
    NotYetValid: Verdict.NOT_YET_VALID,
    Expired: Verdict.EXPIRED,
}

# A member of an enum is looked up in 0.14 microseconds, a name of this module in a tenth of that.
_NO_STATE, _ACTIVE = CredentialState.NONE, CredentialState.ACTIVE
_NO_COLOUR, _RED, _YELLOW = Colour.NONE, Colour.RED, Colour.YELLOW
_GREEN = Verdict.GREEN


def reject(error: CodeError) -> Verdict:
    """Return the verdict on a code that does not authenticate."""
    if isinstance(error, MalformedCode):
        return Verdict.MALFORMED
    return _BY_ERROR[type(error)]


def read_record(bits: int) -> StatusRecord | None:
    """Return the status record as the mirror has it; None for one never heard of, or that makes no sense."""
    if bits == NEVER_HEARD_OF:
        return None
    try:
        return unpack(bits)
    except StatusError:
        return None


def decide(code: Code, record: StatusRecord | None, status_age_s: float, policy: Policy, now: int) -> Verdict:
    """Return the verdict on an authentic code that is in its window.

    `status_age_s` is how long ago the mirror was known to be current, `now` Unix seconds. A test from
    the future counts as fresh: clocks differ by minutes.
    """
    if record is None:
        return Verdict.NO_STATUS
    if record.state is _NO_STATE:
        return Verdict.NO_STATUS
    if record.generation != code.generation % GENERATION_MODULUS:
        return Verdict.REPLACED
    if record.state is not _ACTIVE:
        return Verdict.SUSPENDED if record.state is CredentialState.SUSPENDED else Verdict.REVOKED
    if record.colour is _NO_COLOUR:
        return Verdict.NO_STATUS
    if record.colour is _RED:
        return Verdict.RED
    if record.colour is _YELLOW and not policy.yellow_opens:
        return Verdict.YELLOW
    return _decide_on_ages(record, status_age_s, policy, now)


def _decide_on_ages(record: StatusRecord, status_age_s: float, policy: Policy, now: int) -> Verdict:
    if policy.max_test_age_s is not None:
        tested_at = 60 * record.last_negative_test_min  # 0: none known
        if not tested_at or now - tested_at > policy.max_test_age_s:
            return Verdict.TEST_TOO_OLD
    # Not written with `>`, which is false for NaN and would open.
    if policy.max_status_age_s is not None and not status_age_s <= policy.max_status_age_s:
        return Verdict.STATUS_TOO_OLD
    return _GREEN
