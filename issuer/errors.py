"""The errors of the issuer, one family.

    IssuerError
    +-- Refused                 the issuer says no; answers.py gives each its status code
    |   +-- InvalidArgument     the request breaks the API; names the field
    |   +-- NotFound            the holder or credential does not exist
    |   +-- FailedPrecondition  it exists, but is in a state that forbids this
    |   +-- Unauthenticated     no client, an unknown or a revoked one
    |   +-- PermissionDenied    the client may not do this
    |   +-- TooMany             it asked too often; says when to come back
    +-- CacheUnavailable        Redis does not answer what was asked of it; the register is as it was
    +-- RegisterUnavailable     the register cannot be reached or is locked; nothing was changed
    |   +-- RegisterRefused     a rule that the register itself holds forbids it; trying again will not help
    +-- UnsoundBundle           what was signed does not authenticate; nothing was handed out
    +-- CacheMismatch           Redis does not hold what we wrote there; it has to be rebuilt
    +-- ForeignCache            Redis holds the status of another issuer; it is left alone
    +-- SetupError              the issuer cannot start as it is set up; the message says what to do
        +-- AlreadyInitialised  there is an issuer in that folder
        +-- NotInitialised      there is no issuer in that folder
        +-- KeyFileError        a key file that must not or cannot be used
        +-- SchemaMismatch      the register is of another version of the program
        +-- AlreadyServed       another process serves the same folder
        +-- SettingsError       a setting is missing, unknown or unusable

Messages never carry a name, a document number, a passphrase, a key or a QR text.
"""


class IssuerError(Exception):
    """Root of the family."""


class Refused(IssuerError):
    """The issuer says no."""


class InvalidArgument(Refused):
    """The request breaks the API."""

    def __init__(self, field: str, problem: str) -> None:
        """Name the field as the request has it, such as `holders[3].name`."""
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class NotFound(Refused):
    """The holder or credential named does not exist."""


class FailedPrecondition(Refused):
    """It exists, but is in a state that forbids this."""


class Unauthenticated(Refused):
    """No client calls, or an unknown or a revoked one; the text is the same for all three."""


class PermissionDenied(Refused):
    """The client may not do this."""


class TooMany(Refused):
    """The client asked too often."""

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        """Say in how many seconds it is worth asking again."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class CacheUnavailable(IssuerError):
    """Redis does not answer what was asked of it; the register is as it was."""


class RegisterUnavailable(IssuerError):
    """The register cannot be reached or is locked; nothing was changed."""


class RegisterRefused(RegisterUnavailable):
    """A rule that the register itself holds forbids it, such as that history is append-only."""


class UnsoundBundle(IssuerError):
    """What was signed does not authenticate with the published key set; nothing was handed out."""


class CacheMismatch(IssuerError):
    """Redis does not hold what we wrote there; the message says what was found instead."""


class ForeignCache(IssuerError):
    """Redis holds the status of another issuer; nothing was written."""


class SetupError(IssuerError):
    """The issuer cannot start as it is set up; the message says what to do."""


class AlreadyInitialised(SetupError):
    """There is an issuer, or part of one, in that folder; nothing was touched."""


class NotInitialised(SetupError):
    """There is no issuer in that folder."""


class KeyFileError(SetupError):
    """A key file that must not or cannot be used."""


class SchemaMismatch(SetupError):
    """The register was made by another version of the program."""


class AlreadyServed(SetupError):
    """Another process serves the same folder."""


class SettingsError(SetupError):
    """A setting is missing, unknown or unusable; the message names it."""
