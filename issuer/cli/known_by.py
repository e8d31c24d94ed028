"""What a new client or gate is to be known by: a bearer key that is made here, or a certificate."""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

import click

from issuer.cli.errors import Refused
from issuer.cli.session import usage_errors

_MAX_CERTIFICATE_BYTES = 1 << 16


def require_one(key_to: Path | None, certificate: Path | None, *, whose: str) -> None:
    """End the command unless a key can be made or a certificate taken; `whose` is "client" or "gate"."""
    if certificate is not None and key_to is not None:
        raise click.UsageError(
            f"a {whose} with a certificate has no key: leave out --key-to or --certificate"
        )
    if key_to is not None and key_to.exists():
        raise click.UsageError(f"{key_to} is there already: choose another file, or move it away")


@contextlib.contextmanager
def new_key(key_to: Path | None, told: dict[str, object]) -> Iterator[bytes]:
    """Make a bearer key and give its SHA-256; what is put into `told` says the key, or where it is.

    Inside, the issuer is asked to take it. Where it says no, no file is left.
    """
    from issuer.access import bearer  # noqa: PLC0415 - help starts faster without

    key = bearer.make_key()
    if key_to is None:
        told["key"] = key
    else:
        # Before anything is added: it is of no use to anybody if its key cannot be kept.
        with usage_errors():
            bearer.write_key_file(key_to, key)
        told["key_file"] = str(key_to)
    try:
        yield bearer.hash_key(key)
    except Refused:
        if key_to is not None:
            key_to.unlink(missing_ok=True)
        raise


def certificate_sha256(path: Path) -> bytes:
    """Return the SHA-256 of a certificate in PEM (of its DER); the first, where there is a chain."""
    import ssl  # noqa: PLC0415 - for certificates only

    try:
        with path.open("rb") as file:
            content = file.read(_MAX_CERTIFICATE_BYTES).decode("ascii", errors="replace")
        begin, end = content.index("-----BEGIN CERTIFICATE"), content.index("-----END CERTIFICATE-----")
        der = ssl.PEM_cert_to_DER_cert(content[begin : end + len("-----END CERTIFICATE-----")])
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise click.UsageError(f"{path} is no certificate: expected PEM, BEGIN CERTIFICATE") from None
    return hashlib.sha256(der).digest()
