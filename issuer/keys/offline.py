"""Key sets on their way to a root key that is kept elsewhere, and back.

The exported file is for the eyes of the one who signs, so it is JSON, and its fields are all there is:
what is signed is made of them anew, nothing hidden travels along.

    {"gatelight_key_set_to_sign": 1, "version": 7,
     "issued_at": "2026-11-21T10:00:00Z", "expires_at": "2026-12-21T10:00:00Z",
     "keys": [{"key_id": hex, "public_key": hex}]}

The signed file is the COSE_Sign1 that verifiers read (verifier/wire/key_set.py). Nothing here talks to a
server, nor needs one.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from issuer.errors import SetupError
from issuer.key_file import Purpose, read_key_file
from issuer.key_store import SecretKeyStore, key_id_of
from issuer.keys.root import sign_key_set
from verifier.wire.ed25519 import PUBLIC_KEY_BYTES, VerifyingKey
from verifier.wire.errors import KeySetError
from verifier.wire.key_set import KeySet, decode_payload

MAX_EXPORT_BYTES = 16_384

_VERSION = 1
_MARK = b'"gatelight_key_set_to_sign"'
_TIME = "%Y-%m-%dT%H:%M:%SZ"


def export_text(payload: bytes) -> str:
    """Return the text of an exported file, of what ExportKeySet answered; raises KeySetError."""
    key_set = decode_payload(payload)
    content = {
        "gatelight_key_set_to_sign": _VERSION,
        "version": key_set.version,
        "issued_at": _time(key_set.issued_at),
        "expires_at": _time(key_set.expires_at),
        "keys": [
            {"key_id": key_id.hex(), "public_key": key.public_key.hex()}
            for key_id, key in key_set.keys.items()
        ],
    }
    return json.dumps(content, indent=1) + "\n"


def read_export(text: bytes) -> KeySet:
    """Return the key set in an exported file; raises SetupError."""
    if len(text) > MAX_EXPORT_BYTES:
        raise SetupError(f"not an exported key set: expected at most {MAX_EXPORT_BYTES} bytes")
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError):
        raise SetupError("not an exported key set: expected JSON, as key-set export writes it") from None
    match loaded:
        case {
            "gatelight_key_set_to_sign": 1,
            "version": int(version),
            "issued_at": str(issued_at),
            "expires_at": str(expires_at),
            "keys": list(keys),
        } if len(loaded) == 5 and not isinstance(version, bool):
            return KeySet.of(
                version=version,
                issued_at=_read_time(issued_at),
                expires_at=_read_time(expires_at),
                keys=[_read_key(key) for key in keys],
            )
        case _:
            raise SetupError("not an exported key set of this version: export it again")


def is_export(content: bytes) -> bool:
    """Tell whether a file is an exported key set, whole or not, and not a signed one."""
    return content.lstrip().startswith(b"{") and _MARK in content


def describe(key_set: KeySet) -> Sequence[str]:
    """Return what a root is about to sign, a line each, for whoever holds the root key."""
    days = (key_set.expires_at - key_set.issued_at) / 86_400
    return [
        f"key set {key_set.version}",
        f"in force from {_time(key_set.issued_at)} to {_time(key_set.expires_at)}, {days:.1f} days",
        f"{len(key_set.keys)} keys, whose codes every verifier will take:",
        *(f"  {key_id.hex()}" for key_id in key_set.keys),
    ]


def sign_offline(key_set: KeySet, *, root_key: Path, passphrase: bytes) -> bytes:
    """Return the key set signed by the root key in a file; raises KeyFileError or SetupError."""
    root = SecretKeyStore(read_key_file(root_key, purpose=Purpose.ROOT, passphrase=passphrase))
    if key_id_of(root) in key_set.keys:
        raise SetupError("the root key itself is among the keys: it signs key sets, and never codes")
    try:
        return sign_key_set(key_set, root)
    except KeySetError as error:
        raise SetupError(f"no verifier would take this key set: {error}") from None


def _read_key(encoded: Any) -> VerifyingKey:
    match encoded:
        case {"key_id": str(key_id), "public_key": str(public_key)} if len(encoded) == 2:
            try:
                key = VerifyingKey(bytes.fromhex(public_key))
            except ValueError:
                raise SetupError(f"expected public keys of {PUBLIC_KEY_BYTES} bytes in hexadecimal") from None
            made_of = KeySet.of(version=1, issued_at=0, expires_at=1, keys=[key])
            if [one.hex() for one in made_of.keys] != [key_id]:
                raise SetupError(f"the public key of {key_id[:16]} is another key's: export it again")
            return key
        case _:
            raise SetupError("expected keys with key_id and public_key")


def _time(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime(_TIME)


def _read_time(text: str) -> int:
    try:
        return int(datetime.strptime(text, _TIME).replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise SetupError("expected times such as 2026-11-21T10:00:00Z") from None
