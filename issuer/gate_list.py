"""Sign the gate list and have it published: on a change, daily, at a start, and when another key signs.

The register's version says what the newest list is. Where nothing newer is signed here, the list in memory
is what the publisher keeps in Redis (issuer/publisher.py), also after Redis lost it. A list that is signed
for another reason than a change gets a version of its own: verifiers take nothing that is not newer.

It is signed by the key that signs codes, when that one does: verifiers have it in their key set by then, and
whoever sees the new key set before the new list keeps the old list. A list of a revoked key is replaced
within a second of its successor's first code.

Each start signs a new list, because the register may have been restored from a backup, and Redis may hold
one that says something else. That and the daily list wait while the clock is not steady
(issuer/clock_guard.py): a list whose validity ended in the past would close every gate.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from issuer import metrics
from issuer.clock_guard import ClockGuard
from issuer.errors import IssuerError
from issuer.keys.ring import KeyRing, Signing
from issuer.register import gate_list as rows
from issuer.register.database import Database
from verifier.loop import Loop
from verifier.wire import cose
from verifier.wire.errors import GateListError
from verifier.wire.gate_list import GateList, gate_list_to_sign, read_gate_list

# As the key set: without anybody's hand, gates go on this long after their issuer has died.
LIFE_S = 30 * 86_400
RENEWAL_S = 86_400
_PAUSE_S = 1.0

_log = structlog.get_logger("issuer.gates")


class GateListPublisher(Protocol):
    """Keeps a gate list in Redis (issuer/publisher.py)."""

    def publish_gate_list(self, signed: bytes) -> bool:
        """Put it there now, and again whenever it is gone; tell whether it is there. Waits for a moment."""


@dataclass(frozen=True, slots=True)
class SignedGateList:
    """The gate list that this process signed last."""

    version: int
    issued_at: int  # Unix seconds
    key_id: bytes
    signed: bytes


class GateListSigner:
    """Signs what the register says of gates. Threads share it."""

    def __init__(
        self,
        *,
        database: Database,
        ring: KeyRing,
        publisher: GateListPublisher,
        clock: Callable[[], float],
        clock_guard: ClockGuard,
    ) -> None:
        """`clock` gives Unix seconds."""
        self._database = database
        self._ring = ring
        self._publisher = publisher
        self._clock = clock
        self._guard = clock_guard
        self._newest: SignedGateList | None = None
        self._signing = threading.Lock()
        self._loop = Loop(self.turn, name="gate list", pause_s=_PAUSE_S, retry_s=_PAUSE_S)

    def start(self) -> None:
        """Begin, in a thread."""
        self._loop.start()

    def stop(self) -> None:
        """Sign nothing further."""
        self._loop.stop()

    def turn(self) -> None:
        """Sign and publish a list if one is due.

        Raises FailedPrecondition while no key signs, GateListError or RegisterUnavailable; it stays due.
        """
        with self._signing:
            before, newest = self._newest, self._sign_if_due(is_changed=False)
            if newest is not None and newest is not before:
                self._publisher.publish_gate_list(newest.signed)

    def publish_change(self) -> bool:
        """Sign what was changed in the register, and tell whether Redis has it; waits for a moment.

        Where that is not possible now it is done as soon as it is.
        """
        with self._signing:
            try:
                newest = self._sign_if_due(is_changed=True)
            except (IssuerError, GateListError) as error:
                _log.warning("a change of gates is safe, but not signed yet", trouble=str(error))
                return False
            return newest is not None and self._publisher.publish_gate_list(newest.signed)

    def _sign_if_due(self, *, is_changed: bool) -> SignedGateList | None:
        """Return the newest list; None: there is none yet, because the clock is not steady."""
        now = self._clock()
        signing = self._ring.current(now=int(now))
        newest = self._newest
        with self._database.read() as connection:
            version = rows.read_version(connection)
        is_unsigned = newest is not None and version != newest.version
        if not is_unsigned:
            if not self._is_renewal_due(signing, now, is_changed=is_changed):
                return newest
            with self._database.write() as connection:
                rows.raise_version(connection, now=int(now))
        self._newest = newest = self._sign(signing)
        return newest

    def _is_renewal_due(self, signing: Signing, now: float, *, is_changed: bool) -> bool:
        """Tell whether a list is due that says nothing new, or nobody knows whether it does."""
        newest = self._newest
        if newest is None:
            return is_changed or self._guard.is_steady(self._clock())
        if newest.key_id != signing.key_id:
            return True
        return now - newest.issued_at >= RENEWAL_S and self._guard.is_steady(self._clock())

    def _sign(self, signing: Signing) -> SignedGateList:
        with self._database.read() as connection:
            listed = rows.read_listed(connection)
        gate_list = GateList(
            version=listed.version,
            issued_at=listed.issued_at,
            expires_at=listed.issued_at + LIFE_S,
            groups=listed.groups,
            gates=listed.gates,
        )
        protected, payload, to_sign = gate_list_to_sign(gate_list, signing.key_id)
        signed = cose.assemble_sign1(protected, payload, signing.key.sign(to_sign))
        read_gate_list(signed, signing.key_set.keys)  # what verifiers would refuse is not published
        metrics.GATE_LIST_EXPIRES_AT.set(gate_list.expires_at)
        _log.info("gate list signed", version=gate_list.version, gates=len(gate_list.gates))
        return SignedGateList(gate_list.version, gate_list.issued_at, signing.key_id, signed)
