"""The gatekeeper on the register: knows a caller by bearer key or certificate, and records calls.

A bearer key counts before the certificate of the connection: a proxy has a certificate of its own, and the
call is its client's. A client that is revoked during a call may bring it to its end, except for a stream of
requests, where the next one is refused (issuer/answers.py).

Guessing a key of 256 bits is hopeless whatever we do. Failed attempts are limited so that a misconfigured
or hostile peer is noticed in the metrics and fills neither log nor register. A valid key always passes,
because many clients may share the address of one proxy.
"""

import hashlib
import ssl
from collections.abc import Callable
from typing import Any

import grpc

from issuer.access.attempts import Attempts
from issuer.access.bearer import hash_key
from issuer.access.calls import Calls
from issuer.access.clients import Clients
from issuer.access.roles import Caller
from issuer.errors import TooMany, Unauthenticated
from issuer.metrics import FAILED_AUTHENTICATIONS
from verifier.bearer import read_authorization

METADATA_KEY = "authorization"
# gRPC has it only where the certificate was verified in the handshake.
_CERTIFICATE = "x509_pem_cert"


class RegisterGatekeeper:
    """An issuer.answers.Gatekeeper on the register. Threads share it."""

    def __init__(self, *, clients: Clients, calls: Calls, clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds."""
        self._clients = clients
        self._calls = calls
        self._clock = clock
        self._failed_attempts = Attempts(clock=clock)

    def authenticate(self, context: grpc.ServicerContext) -> Caller:
        """Return who calls; raises Unauthenticated, TooMany or RegisterUnavailable."""
        caller = self._find(context)
        if caller is not None:
            return caller
        FAILED_AUTHENTICATIONS.inc()
        wait_s = self._failed_attempts.take(context.peer())
        if wait_s:
            raise TooMany("too many failed authentications from this address", retry_after_s=wait_s)
        raise Unauthenticated("no client is known by this bearer key or certificate, or none was given")

    def begin(self, caller: Caller, *, method: str, target: str) -> int:
        """Record that a call begins, before anything is done; return its seq. Raises RegisterUnavailable."""
        now = int(self._clock())
        return self._calls.begin(client_id=caller.client_id, method=method, target=target, now=now)

    def end(self, seq: int, *, outcome: str) -> None:
        """Record how the call ended, by the name of its status code; raises RegisterUnavailable."""
        self._calls.end(seq, outcome=outcome)

    def _find(self, context: grpc.ServicerContext) -> Caller | None:
        given = [value for key, value in context.invocation_metadata() if key == METADATA_KEY]
        if given:
            key = read_authorization(given)  # only keys reach the register
            return None if key is None else self._clients.find_by_bearer_key(hash_key(key))
        # types-grpcio has the values as bytes; they are tuples of bytes.
        certificates: Any = context.auth_context().get(_CERTIFICATE)
        if not certificates:
            return None
        der = ssl.PEM_cert_to_DER_cert(certificates[0].decode("ascii"))
        return self._clients.find_by_certificate(hashlib.sha256(der).digest())
