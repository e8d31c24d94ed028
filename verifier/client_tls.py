"""TLS of a client, from PEM files that are read once, at the start."""

from dataclasses import dataclass
from pathlib import Path

import grpc

from verifier.errors import SettingsError
from verifier.tls import read_certificates, read_pair


@dataclass(frozen=True, slots=True)
class ClientTls:
    """The files of a client."""

    ca: Path | None = None  # who may vouch for the server; without it, whom this machine trusts
    certificate: Path | None = None
    key: Path | None = None

    def read(self) -> grpc.ChannelCredentials:
        """Return what gRPC needs; raises SettingsError, naming the file."""
        if (self.certificate is None) != (self.key is None):
            raise SettingsError("a certificate and its key come together: give both, or neither")
        authorities = None if self.ca is None else read_certificates(self.ca)
        if self.certificate is None or self.key is None:
            return grpc.ssl_channel_credentials(authorities)
        key, chain = read_pair(self.certificate, self.key)
        return grpc.ssl_channel_credentials(authorities, private_key=key, certificate_chain=chain)
