"""What a city without an issuer is made of, in a folder, so that others can make codes of it.

city.json   the private keys, how many of them are published, how many credentials there are, and by which
            rule; for its owner alone
root.pub    what verifiers are started with (--root-key)
gate.key    the bearer key of its one gate, for verifiers that ask for one (--gate-auth key)
city.lock   locked by the process that keeps the city current
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from issuer.key_store import KeyStore, SecretKeyStore
from loadtest.city_people import MAX_CREDENTIALS, People
from verifier.atomic_file import write_atomically
from verifier.bearer import is_key, make_key

GATE_ID = "bench"
CITY_NAME = "city.json"
ROOT_NAME = "root.pub"
GATE_KEY_NAME = "gate.key"
_LOCK_NAME = "city.lock"
# One that signs, and the one that it is changed for.
KEYS = 2
_FORMAT = 1
_SECRET_BYTES = 32


class NotACity(Exception):
    """A folder does not hold a city; the message is for people."""


class CityInUse(Exception):
    """Another process keeps the city of a folder; the message is for people."""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the one process that keeps the city in `folder`; raises CityInUse, OSError.

    Two would take each other for a Redis that lost what was written, and write everything again and again.
    """
    with (folder / _LOCK_NAME).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CityInUse(
                f"another process keeps the city in {folder}: end it, or take another folder"
            ) from None
        yield


@dataclass(frozen=True, slots=True)
class CityFile:
    """A city: its credentials and its keys."""

    people: People
    gate_key: str = field(repr=False)
    root_secret: bytes = field(repr=False)
    secrets: tuple[bytes, ...] = field(repr=False)  # of the signing keys
    published: int = 1  # so many of them, the first ones, are in the key set

    @classmethod
    def make(cls, people: People) -> Self:
        """Return a city with new keys."""
        root, *secrets = (os.urandom(_SECRET_BYTES) for _ in range(1 + KEYS))
        return cls(people, make_key(), root, tuple(secrets))

    @property
    def root(self) -> KeyStore:
        """The key that signs key sets."""
        return SecretKeyStore(self.root_secret)

    def key(self, number: int = 0) -> KeyStore:
        """Return a key that signs codes, 0 or 1."""
        return SecretKeyStore(self.secrets[number])

    def write(self, folder: Path) -> None:
        """Write the files; raises OSError."""
        public = Ed25519PublicKey.from_public_bytes(self.root.public_key)
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        content = {
            "gatelight_load_city": _FORMAT,
            "credentials": self.people.credentials,
            "is_mixed": self.people.is_mixed,
            "gate_key": self.gate_key,
            "root": self.root_secret.hex(),
            "keys": [secret.hex() for secret in self.secrets],
            "published": self.published,
        }
        write_atomically(folder / ROOT_NAME, pem)
        write_atomically(folder / GATE_KEY_NAME, f"{self.gate_key}\n".encode(), mode=0o600)
        write_atomically(folder / CITY_NAME, json.dumps(content, indent=1).encode(), mode=0o600)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a city; raises NotACity."""
        path = folder / CITY_NAME
        try:
            content = json.loads(path.read_bytes())
        except OSError as error:
            raise NotACity(
                f"{path}: {error.strerror}; python -m loadtest city --folder {folder} makes one"
            ) from None
        except (ValueError, RecursionError):
            content = None
        match content:
            case {
                "gatelight_load_city": 1,
                "credentials": int(credentials),
                "is_mixed": bool(is_mixed),
                "gate_key": str(gate_key),
                "root": str(root),
                "keys": [str(first), str(second)],
                "published": int(published),
            } if 1 <= credentials <= MAX_CREDENTIALS and is_key(gate_key) and 1 <= published <= KEYS:
                pass
            case _:
                raise NotACity(f"{path} is not a city: make one in another folder")
        try:
            secrets = [bytes.fromhex(secret) for secret in (root, first, second)]
        except ValueError:
            secrets = []
        if [len(secret) for secret in secrets] != [_SECRET_BYTES] * 3:
            raise NotACity(f"{path} is not a city: its keys are damaged")
        return cls(People(credentials, is_mixed), gate_key, secrets[0], tuple(secrets[1:]), published)
