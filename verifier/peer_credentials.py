"""What came with a grpcio call to say which gate it is from."""

import hashlib
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import grpc

from verifier.access.callers import Credentials
from verifier.host.worker_config import GateAuth

_NONE = Credentials()
# One for each gate whose connection is open; a full one is emptied, and filled again by the next calls.
_MAX_CERTIFICATES = 8_192


def credentials_reader(gate_auth: GateAuth) -> Callable[[grpc.ServicerContext], Credentials]:
    """Return what reads the credentials of a call, and no more than that kind needs."""
    if gate_auth is GateAuth.KEY:
        return _read_key
    if gate_auth is GateAuth.CERTIFICATE:
        return _CertificateReader().read
    return lambda _context: _NONE


def _read_key(context: grpc.ServicerContext) -> Credentials:
    values = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
    return Credentials(authorization=tuple(str(value) for value in values))


class _CertificateReader:
    """Reads the certificate that the handshake has verified."""

    def __init__(self) -> None:
        self._known: dict[bytes, Credentials] = {}  # by PEM: taking it apart takes longer than a lookup

    def read(self, context: grpc.ServicerContext) -> Credentials:
        # (The stubs of grpcio are wrong about the values.)
        peer = cast("Mapping[str, Sequence[bytes]]", context.auth_context())
        certificates = peer.get("x509_pem_cert", ())
        if len(certificates) != 1:
            return _NONE
        pem = certificates[0]
        found = self._known.get(pem)
        if found is None:
            der = ssl.PEM_cert_to_DER_cert(pem.decode("ascii"))
            found = Credentials(certificate_sha256=hashlib.sha256(der).digest())
            if len(self._known) >= _MAX_CERTIFICATES:
                self._known.clear()
            self._known[pem] = found
        return found
