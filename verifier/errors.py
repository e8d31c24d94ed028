"""The errors of the verifier beside those of the wire formats, one family.

VerifierError
+-- NotReady             there can be no verdict: no key set in force, or no status mirror yet
+-- StatusUnavailable    Redis answers, but does not hold what a mirror can be built from
|   +-- StatusMissing     it holds nothing: it is empty, or was emptied
+-- SettingsError        the verifier cannot run as it was told to
"""


class VerifierError(Exception):
    """Root of the family."""


class NotReady(VerifierError):
    """There can be no verdict now; the message says what is missing."""


class StatusUnavailable(VerifierError):
    """Redis holds no status that a mirror may be built from; the message says what is wrong."""


class StatusMissing(StatusUnavailable):
    """Redis holds nothing where something of ours must be: it was emptied, or the issuer never wrote."""


class SettingsError(VerifierError):
    """A setting is missing, unknown or unusable; the message names it."""
