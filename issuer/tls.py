"""TLS of the issuer and of its clients, from PEM files that are read once, at the start.

gRPC takes TLS 1.2 and 1.3, and says nothing about what is wrong with a file; so each is read here first.
Certificates that were renewed are taken up by a restart. A connection lasts beyond the end of the
certificate it was made with; the client's role ends with RevokeClient, at once.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

import grpc
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509 import Certificate, load_pem_x509_certificates

from issuer.errors import SettingsError

# A chain or a list of authorities; no key or certificate of ours comes near.
_MAX_FILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ServerTls:
    """The files of a server."""

    certificate: Path
    key: Path
    client_ca: Path | None = None  # if given, every client needs a certificate of one of these

    def read(self) -> grpc.ServerCredentials:
        """Return what gRPC needs; raises SettingsError, naming the file."""
        pair = _read_pair(self.certificate, self.key)
        if self.client_ca is None:
            return grpc.ssl_server_credentials([pair])
        authorities = _read_certificates(self.client_ca)[0]
        return grpc.ssl_server_credentials([pair], root_certificates=authorities, require_client_auth=True)


@dataclass(frozen=True, slots=True)
class ClientTls:
    """The files of a client."""

    ca: Path | None = None  # without it, whom this machine trusts
    certificate: Path | None = None
    key: Path | None = None

    def read(self) -> grpc.ChannelCredentials:
        """Return what gRPC needs; raises SettingsError, naming the file."""
        authorities = None if self.ca is None else _read_certificates(self.ca)[0]
        if (self.certificate is None) != (self.key is None):
            raise SettingsError("a certificate and its key come together: give both, or neither")
        if self.certificate is None or self.key is None:
            return grpc.ssl_channel_credentials(authorities)
        key, chain = _read_pair(self.certificate, self.key)
        return grpc.ssl_channel_credentials(authorities, private_key=key, certificate_chain=chain)


def _read_pair(certificate: Path, key: Path) -> tuple[bytes, bytes]:
    chain, certificates = _read_certificates(certificate)
    content = _read(key)
    try:
        private_key = load_pem_private_key(content, password=None)
    except TypeError:
        raise SettingsError(f"{key} is encrypted: expected a key without a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise SettingsError(f"{key} is not a private key in PEM") from None
    # What gRPC's TLS library takes; of an Ed25519 key it says nothing, and no handshake succeeds.
    if not isinstance(private_key, RSAPrivateKey | EllipticCurvePrivateKey):
        raise SettingsError(f"{key} is neither an RSA nor an EC key")
    if certificates[0].public_key() != private_key.public_key():
        raise SettingsError(f"{key} does not belong to the first certificate in {certificate}")
    return content, chain


def _read_certificates(path: Path) -> tuple[bytes, list[Certificate]]:
    content = _read(path)
    try:
        # A bundle of authorities has old ones with oddities, which are not ours to mend.
        with warnings.catch_warnings(action="ignore", category=CryptographyDeprecationWarning):
            return content, load_pem_x509_certificates(content)
    except ValueError:
        raise SettingsError(f"{path} is not a certificate in PEM") from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_FILE_BYTES)
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None
