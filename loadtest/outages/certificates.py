"""A certificate authority for servers of ours, which gates are told to trust."""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_HOUR = dt.timedelta(hours=1)
_YEAR_DAYS = 365


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its key."""

    certificate: bytes  # PEM
    key: bytes  # PEM
    der: bytes


class Authority:
    """Vouches for servers at 127.0.0.1."""

    def __init__(self, path: Path) -> None:
        """Write the certificate to trust to `path`; raises OSError."""
        self.path = path
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("outages")
        made = _builder(self._name, self._name, self._key, _YEAR_DAYS).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        path.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def issue(self, *, days: int) -> Issued:
        """Return a new certificate, with a new key, for so many days."""
        key = ec.generate_private_key(ec.SECP256R1())
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        certificate = (
            _builder(_name("verifier"), self._name, key, days)
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Issued(
            certificate.public_bytes(Encoding.PEM),
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            certificate.public_bytes(Encoding.DER),
        )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, by: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _HOUR)
        .not_valid_after(now + dt.timedelta(days=days))
    )
