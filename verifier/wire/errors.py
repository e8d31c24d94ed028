"""The errors of the wire formats, one family.

    WireError
    +-- CodeError               the code does not authenticate; each has its verdict
    |   +-- MalformedCode       not a code of ours
    |   |   +-- QrTextError     length or prefix
    |   |   +-- Base45Error     RFC 9285
    |   |   +-- CborError       not an item of the strict CBOR that codes are made of
    |   |   +-- CoseError       the envelope is not the one that code_token.cddl allows
    |   |   +-- ClaimsError     the claims are not those that code_token.cddl allows
    |   +-- UnknownKey          signed by a key that is not in the key set
    |   +-- BadSignature        the signature does not match
    |   +-- OutsideWindow       authentic, but not now; carries the code
    |       +-- NotYetValid
    |       +-- Expired
    +-- KeySetError             a key set that must not be used
    |   +-- KeySetNotTrusted    not signed by the pinned root
    |   +-- KeySetOutdated      older than one that was taken, or over before it came
    +-- GateListError           a gate list that must not be used
    |   +-- GateListNotTrusted  not signed by a key of the key set
    |   +-- GateListOutdated    older than one that was taken
    +-- StatusError             a status record or feed entry that makes no sense

Messages say what was expected and what came. They never carry a QR text, a hint or a key, so that
they can be logged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from verifier.wire.code import Code


class WireError(Exception):
    """Root of the family."""


class CodeError(WireError):
    """The code does not authenticate."""


class MalformedCode(CodeError):
    """What was scanned is not a code of ours."""


class QrTextError(MalformedCode):
    """The QR text is too long, too short or has another prefix."""


class Base45Error(MalformedCode):
    """The characters are not strict Base45."""


class CborError(MalformedCode):
    """The bytes are not the deterministic CBOR item that must stand here."""


class CoseError(MalformedCode):
    """The envelope is not the COSE_Sign1 that code_token.cddl allows."""


class ClaimsError(MalformedCode):
    """The claims are not those that code_token.cddl allows."""


class UnknownKey(CodeError):
    """The key that signed the code is not in the key set."""


class BadSignature(CodeError):
    """The signature does not match."""


class OutsideWindow(CodeError):
    """The code is authentic, but its window does not hold the time of the scan."""

    def __init__(self, message: str, code: Code) -> None:
        super().__init__(message)
        self.code = code


class NotYetValid(OutsideWindow):
    """The window has not begun, also with the allowance for clock skew."""


class Expired(OutsideWindow):
    """The window is over, also with the allowance for clock skew."""


class KeySetError(WireError):
    """The key set must not be used; the message says why."""


class KeySetNotTrusted(KeySetError):
    """The pinned root has not signed it."""


class KeySetOutdated(KeySetError):
    """It is older than one that was taken, or was over before it came."""


class GateListError(WireError):
    """The gate list must not be used; the message says why."""


class GateListNotTrusted(GateListError):
    """No key of the key set has signed it."""


class GateListOutdated(GateListError):
    """It is older than one that was taken."""


class StatusError(WireError):
    """A status record or a feed entry makes no sense."""
