"""Key files: a secret of 32 bytes, wrapped by a passphrase.

JSON text, so that a person can see what it is without opening it:

    {"gatelight_key_file": 1, "purpose": "root",
     "kdf": "scrypt", "n": 65536, "r": 8, "p": 1, "salt": hex,
     "cipher": "chacha20-poly1305", "nonce": hex, "wrapped": hex}

scrypt (RFC 7914) makes the wrapping key and ChaCha20-Poly1305 (RFC 8439) wraps, with everything else in
the file as associated data, so that nothing in it can be changed unnoticed. PKCS#8 was not taken because
OpenSSL's default for it is 2 048 rounds of PBKDF2, which a graphics card tries a million times a second.
"""

import json
import os
import secrets
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from issuer.errors import KeyFileError
from verifier.atomic_file import write_atomically

SECRET_BYTES = 32

_VERSION = 1
_SALT_BYTES = 16
_NONCE_BYTES = 12
# 64 MiB and about a fifth of a second for each try.
_N, _R, _P = 1 << 16, 8, 1
# What a file may ask for when it is read: a hostile one could demand 100 GB of memory.
_ACCEPTED_N = tuple(1 << power for power in range(14, 19))
_MAX_FILE_BYTES = 4_096
_OPEN_TO_OTHERS = 0o077


class Purpose(StrEnum):
    """What a secret is for. It is in the file, so that one key cannot be put in the place of another."""

    ROOT = "root"
    SIGNING = "signing"
    DOCUMENT_HASH = "document-hash"


def new_secret() -> bytes:
    """Return 32 random bytes."""
    return secrets.token_bytes(SECRET_BYTES)


def write_key_file(path: Path, secret: bytes, *, purpose: Purpose, passphrase: bytes) -> None:
    """Wrap a secret of 32 bytes into a new file of mode 0600; raises FileExistsError or OSError."""
    salt = secrets.token_bytes(_SALT_BYTES)
    nonce = secrets.token_bytes(_NONCE_BYTES)
    header = {
        "gatelight_key_file": _VERSION,
        "purpose": purpose.value,
        "kdf": "scrypt",
        "n": _N,
        "r": _R,
        "p": _P,
        "salt": salt.hex(),
        "cipher": "chacha20-poly1305",
        "nonce": nonce.hex(),
    }
    wrapped = _cipher(passphrase, salt, _N).encrypt(nonce, secret, _associated_data(header))
    text = json.dumps({**header, "wrapped": wrapped.hex()}, indent=1) + "\n"
    write_atomically(path, text.encode(), mode=0o600, replace=False)


def read_key_file(path: Path, *, purpose: Purpose, passphrase: bytes) -> bytes:
    """Return the secret in a key file; raises KeyFileError, also for a file that others may read."""
    loaded = _load(path)
    wrapped, header = loaded.pop("wrapped", None), loaded
    match header:
        case {
            "gatelight_key_file": 1,
            "purpose": str(found_purpose),
            "kdf": "scrypt",
            "n": int(n),
            "r": 8,
            "p": 1,
            "salt": str(salt),
            "cipher": "chacha20-poly1305",
            "nonce": str(nonce),
        } if n in _ACCEPTED_N and len(header) == 9:
            pass
        case _:
            raise KeyFileError(f"{path} is not a key file of this version")
    if found_purpose != purpose:
        raise KeyFileError(f"{path}: expected a {purpose} key, got one for another purpose")
    try:
        cipher = _cipher(passphrase, bytes.fromhex(salt), n)
        secret = cipher.decrypt(bytes.fromhex(nonce), bytes.fromhex(str(wrapped)), _associated_data(header))
    except ValueError:
        raise KeyFileError(f"{path} is damaged: expected hexadecimal of the right length") from None
    except InvalidTag:
        raise KeyFileError(f"{path}: wrong passphrase, or the file was changed") from None
    if len(secret) != SECRET_BYTES:
        raise KeyFileError(f"{path}: expected a secret of {SECRET_BYTES} bytes, got {len(secret)}")
    return secret


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & _OPEN_TO_OTHERS:
                raise KeyFileError(f"{path} is open to others: run chmod 600 {path}")
            content = file.read(_MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise KeyFileError(f"{path} does not exist") from None
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > _MAX_FILE_BYTES:
        raise KeyFileError(f"{path} is not a key file: expected at most {_MAX_FILE_BYTES} bytes")
    try:
        loaded = json.loads(content)
    except (ValueError, RecursionError):
        raise KeyFileError(f"{path} is not a key file: expected JSON") from None
    if not isinstance(loaded, dict):
        raise KeyFileError(f"{path} is not a key file: expected a JSON object")
    return loaded


def _cipher(passphrase: bytes, salt: bytes, n: int) -> ChaCha20Poly1305:
    key = Scrypt(salt=salt, length=32, n=n, r=_R, p=_P).derive(passphrase)
    return ChaCha20Poly1305(key)


def _associated_data(header: Mapping[str, object]) -> bytes:
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
