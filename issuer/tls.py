"""TLS of the issuer and of its clients, from PEM files that are read once, at the start.

Certificates that were renewed are taken up by a restart. A connection lasts beyond the end of the
certificate it was made with; the client's role ends with RevokeClient, at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

import verifier.client_tls
import verifier.errors
from issuer.errors import SettingsError
from verifier.server_tls import server_credentials


@dataclass(frozen=True, slots=True)
class ServerTls:
    """The files of a server."""

    certificate: Path
    key: Path
    client_ca: Path | None = None  # if given, every client needs a certificate of one of these

    def read(self) -> grpc.ServerCredentials:
        """Return what gRPC needs; raises SettingsError, naming the file."""
        with _as_our_error():
            return server_credentials(self.certificate, self.key, self.client_ca)


@dataclass(frozen=True)
class ClientTls(verifier.client_tls.ClientTls):
    """The files of a client."""

    def read(self) -> grpc.ChannelCredentials:
        """Return what gRPC needs; raises SettingsError, naming the file."""
        with _as_our_error():
            return super().read()


@contextmanager
def _as_our_error() -> Iterator[None]:
    try:
        yield
    except verifier.errors.SettingsError as error:
        raise SettingsError(str(error)) from None
