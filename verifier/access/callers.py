"""What is known of whoever calls, whatever engine took the call."""

from dataclasses import dataclass
from typing import Protocol

from verifier.verdict import Policy


@dataclass(frozen=True, slots=True)
class Credentials:
    """What came with a connection or call to say which gate this is. Nothing in it is believed yet."""

    authorization: tuple[str, ...] = ()  # the values of the metadata `authorization`, in order
    certificate_sha256: bytes | None = None  # of the client's certificate (DER), verified in the handshake


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate, as a verdict and the scan log need it."""

    gate_id: str
    policy: Policy


class Caller(Protocol):
    """Whoever makes one call: a gate, a hub with several lanes, or, without credentials, anybody."""

    def gate(self, gate_id: str) -> Gate:
        """Return the gate that a scan is at, `gate_id` being the request's; raises CallError.

        Called once a scan: it reads memory only.
        """

    @property
    def shown_gate_id(self) -> str | None:
        """Return the gate whose credential was shown; None where no credential is asked for."""

    @property
    def may_be_one_entry(self) -> bool:
        """Tell whether a gate of this caller may be one where a code opens once in its window."""


class Gatekeeper(Protocol):
    """Knows callers by their credentials."""

    def identify(self, credentials: Credentials) -> Caller:
        """Return who calls; raises CallError (UNAUTHENTICATED, or UNAVAILABLE without a gate list).

        Called once a call (a stream: once, and again when the gate list has changed): it reads memory only.
        """
