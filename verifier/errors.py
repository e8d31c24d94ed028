"""The errors of the verifier beside those of the wire formats, one family.

VerifierError
+-- NotReady             there can be no verdict: no key set in force, or no status mirror yet
+-- StatusUnavailable    Redis answers, but does not hold what a mirror can be built from
+-- SettingsError        the verifier cannot run as it was told to
"""


class VerifierError(Exception):
    """Root of the family."""


class NotReady(VerifierError):
    """There can be no verdict now; the message says what is missing."""


class StatusUnavailable(VerifierError):
    """Redis holds no status that a mirror may be built from; the message says what is wrong."""


class SettingsError(VerifierError):
    """A setting is missing, unknown or unusable; the message names it."""
