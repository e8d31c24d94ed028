"""Certificates and keys from PEM files, read once, with an error that says what is wrong with a file.

gRPC takes TLS 1.2 and 1.3, and says nothing about what is wrong with a file; so each is read here first, for
all servers and clients. Knows no gRPC.
"""

import warnings
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509 import Certificate, load_pem_x509_certificates

from verifier.errors import SettingsError

# A chain or a list of authorities; no key or certificate of ours comes near.
_MAX_FILE_BYTES = 1 << 20


def read_pair(certificate: Path, key: Path) -> tuple[bytes, bytes]:
    """Return the PEM of a key and of the chain that it belongs to; raises SettingsError, naming the file."""
    chain, certificates = _read_chain(certificate)
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
    if _public_key(certificates[0], certificate) != private_key.public_key():
        raise SettingsError(f"{key} does not belong to the first certificate in {certificate}")
    return content, chain


def read_certificates(path: Path) -> bytes:
    """Return the PEM of a chain or of authorities; raises SettingsError, naming the file."""
    return _read_chain(path)[0]


def expires_at(path: Path) -> float:
    """Return when the first certificate of a chain ends, Unix seconds; raises SettingsError."""
    return _read_chain(path)[1][0].not_valid_after_utc.timestamp()


def _public_key(certificate: Certificate, path: Path) -> object:
    try:
        return certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise SettingsError(f"{path} has a key of a kind that is not known here") from None


def _read_chain(path: Path) -> tuple[bytes, list[Certificate]]:
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
    except ValueError:
        raise SettingsError(f"{str(path)!r} is no path") from None
