"""TLS of the issuer and of its clients, from PEM files that are read once, at the start.

Certificates that were renewed are taken up by a restart. A connection lasts beyond the end of the
certificate it was made with; the client's role ends with RevokeClient, at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

import verifier.errors
from issuer.errors import SettingsError
from verifier.tls import read_certificates, read_pair


@dataclass(frozen=True, slots=True)
class ServerTls:
    """The files of a server."""

    certificate: Path
    key: Path
    client_ca: Path | None = None  # if given, every client needs a certificate of one of these

    def read(self) -> grpc.ServerCredentials:
        """Return what gRPC needs; raises SettingsError, naming the file."""
        with _as_our_error():
            pair = read_pair(self.certificate, self.key)
            if self.client_ca is None:
                return grpc.ssl_server_credentials([pair])
            authorities = read_certificates(self.client_ca)
        return grpc.ssl_server_credentials([pair], root_certificates=authorities, require_client_auth=True)


@dataclass(frozen=True, slots=True)
class ClientTls:
    """The files of a client."""

    ca: Path | None = None  # without it, whom this machine trusts
    certificate: Path | None = None
    key: Path | None = None

    def read(self) -> grpc.ChannelCredentials:
        """Return what gRPC needs; raises SettingsError, naming the file."""
        if (self.certificate is None) != (self.key is None):
            raise SettingsError("a certificate and its key come together: give both, or neither")
        with _as_our_error():
            authorities = None if self.ca is None else read_certificates(self.ca)
            if self.certificate is None or self.key is None:
                return grpc.ssl_channel_credentials(authorities)
            key, chain = read_pair(self.certificate, self.key)
        return grpc.ssl_channel_credentials(authorities, private_key=key, certificate_chain=chain)


@contextmanager
def _as_our_error() -> Iterator[None]:
    try:
        yield
    except verifier.errors.SettingsError as error:
        raise SettingsError(str(error)) from None
