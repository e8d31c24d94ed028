"""A rotation to play with: real register and key files, a clock that the test moves, no Redis."""

import functools
import random
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection, insert, update

from issuer.access.approvals import ApprovalKind, ApprovalState
from issuer.access.bearer import hash_key
from issuer.access.clients import Clients, NewClient
from issuer.access.roles import Role
from issuer.clock_guard import ClockGuard
from issuer.folder import Folder
from issuer.key_file import Purpose, new_secret, write_key_file
from issuer.key_store import KeyStore, SecretKeyStore, key_id_of
from issuer.keys.lifecycle import Key, KeyState, Thresholds, signing_key
from issuer.keys.ring import KeyRing
from issuer.keys.root import sign_key_set
from issuer.keys.rotation import Rotation
from issuer.register import keys as rows
from issuer.register.database import Database
from issuer.register.keys import Keys
from issuer.register.last_recorded import last_recorded_at
from issuer.register.schema import approvals
from issuer.signing import Credential, IssuedCode, sign_bundle, windows_of
from issuer.v1 import keys_pb2
from verifier.wire.code import CredentialKind
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.key_set import KeySet

NOW = 1_800_000_000
PASSPHRASE = b"correct horse"
ROOT = SecretKeyStore(b"root of the tests of the keys...")
ROOT_PUBLIC_KEY = VerifyingKey(ROOT.public_key)


class Clock:
    """Stands still until it is moved."""

    def __init__(self, now: int = NOW) -> None:
        self.now = now
        self.leapt_s = 0  # by which it is ahead of the monotonic clock

    def leap(self, seconds: int) -> None:
        """Be moved by somebody, while no time passes."""
        self.now += seconds
        self.leapt_s += seconds

    def monotonic(self) -> float:
        return float(self.now - self.leapt_s)

    def __call__(self) -> float:
        return float(self.now)


class RedisOfTheTest:
    """Counts what would go to Redis."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers = True

    def publish_key_set(self) -> bool:
        self.asked += 1
        return self.answers


class Turning:
    """A register with one signing key, as init makes it, and the rotation on it."""

    def __init__(
        self,
        database: Database,
        path: Path,
        *,
        thresholds: Thresholds | None = None,
        is_root_here: bool = True,
    ) -> None:
        self.database = database
        self.folder = Folder(path / "issuer")
        self.thresholds = thresholds or Thresholds()
        self.is_root_here = is_root_here
        self.clock = Clock()
        self.redis = RedisOfTheTest()
        self.keys = Keys(database)
        self.folder.signing_keys.mkdir(parents=True)
        self.first_key_id = self._initialise()
        self.restart()

    def restart(self) -> None:
        """Begin with nothing but what register and folder hold."""
        self.ring = KeyRing(keys=self.keys, slack_s=self.thresholds.slack_s)
        self.rotation = Rotation(
            database=self.database,
            ring=self.ring,
            folder=self.folder,
            passphrase=PASSPHRASE,
            root=ROOT if self.is_root_here else None,
            root_public_key=ROOT_PUBLIC_KEY,
            thresholds=self.thresholds,
            publisher=self.redis,
            clock=self.clock,
            clock_guard=ClockGuard(
                monotonic=self.clock.monotonic,
                last_recorded_at=functools.partial(last_recorded_at, self.database),
            ),
        )

    def turn(self, *, at: int | None = None) -> None:
        """Turn at a time."""
        if at is not None:
            self.clock.now = at
        self.rotation.turn()

    def signing_key_id(self) -> bytes:
        """The key that signs, as the register has it."""
        signing = signing_key(self.keys.all())
        assert signing is not None
        return signing.key_id

    def states(self) -> dict[bytes, KeyState]:
        """Where the keys stand."""
        return {key.key_id: key.state for key in self.keys.all()}

    def key(self, key_id: bytes) -> Key:
        return next(key for key in self.keys.all() if key.key_id == key_id)

    def in_state(self, state: KeyState) -> Sequence[bytes]:
        return [key.key_id for key in self.keys.all() if key.state is state]

    def key_set(self) -> KeySet:
        """The newest key set."""
        return self.rotation.read_signed(self.keys.newest_key_set())

    def revoke(self, key_id: bytes) -> None:
        """Revoke a key, with the consent of a second person, in the register alone."""
        with self.database.write() as connection:
            clients = [self._client(connection, f"{name} of {key_id.hex()}") for name in ("first", "second")]
            request = insert(approvals).values(
                kind=ApprovalKind.REVOKE_KEY,
                payload=keys_pb2.RevokeKeyRequest(key_id=key_id).SerializeToString(),
                summary="",
                requested_by=clients[0],
                requested_at=self.clock.now,
                state=ApprovalState.PENDING,
                outcome="",
            )
            approval_id = connection.execute(request.returning(approvals.c.id)).scalar_one()
            settled = {
                "state": ApprovalState.APPROVED,
                "settled_by": clients[1],
                "settled_at": self.clock.now,
            }
            connection.execute(update(approvals).where(approvals.c.id == approval_id).values(settled))
            rows.revoke_key(connection, key_id, approval_id=approval_id, now=self.clock.now)

    def _client(self, connection: Connection, name: str) -> int:
        new = NewClient(name, frozenset({Role.OPERATOR}), bearer_key_sha256=hash_key(name))
        return Clients(database=self.database).add_in(connection, new, now=self.clock.now)

    def sign(
        self, kind: CredentialKind, *, windows: slice = slice(None), window_count: int = 1
    ) -> Sequence[IssuedCode]:
        """Sign some windows of a bundle, as the issuer does."""
        now = self.clock.now
        credential = Credential(kind, 7, 1, "")
        all_windows = windows_of(credential, window_count=window_count, now=now)
        signing = self.ring.current(now=now)
        self.ring.reserve(signing, all_windows[-1][1])
        return sign_bundle(credential, all_windows[windows], signing=signing, rng=random.Random(1))

    def import_key_set(self) -> None:
        """Have the root, which is elsewhere, sign what should be published next, and enter that."""
        with self.database.write() as connection:
            key_set = self.rotation.next_key_set(connection, now=self.clock.now)
            signed = sign_key_set(key_set, ROOT)
            rows.add_key_set(connection, key_set, signed, now=self.clock.now)

    def _initialise(self) -> bytes:
        secret = new_secret()
        store: KeyStore = SecretKeyStore(secret)
        key_id = key_id_of(store)
        write_key_file(
            self.folder.signing_key(key_id), secret, purpose=Purpose.SIGNING, passphrase=PASSPHRASE
        )
        key_set = KeySet.of(
            version=1,
            issued_at=NOW,
            expires_at=NOW + self.thresholds.key_set_life_s,
            keys=[VerifyingKey(store.public_key)],
        )
        with self.database.write() as connection:
            rows.add_key(connection, Key(key_id, store.public_key, KeyState.PREPARED, NOW))
            rows.add_key_set(connection, key_set, sign_key_set(key_set, ROOT), now=NOW)
            rows.activate_key(connection, key_id, now=NOW)
        return key_id
