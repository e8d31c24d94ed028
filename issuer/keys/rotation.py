"""Rotation: does what lifecycle.step says is due, each second, and whenever somebody changed something.

The register is what counts; files and memory follow it. Killed at any instant, nothing is lost and no
valid code is refused, because of this order:

    make      key file, then row: a file without a row stays where it is; nothing was signed with it
    publish   row of the key set, then memory, then Redis: the publisher brings the newest row there again
              and again; a key that only the row knows signs nothing yet
    activate  key opened, then row, then memory: until memory follows, the former key signs, which is in force
    end       row and key set, then the file is deleted: what is left over is deleted at the next start

No file is deleted because the register does not know it: a register that was restored from a backup may
know less than the folder. And a key whose file is gone, as the backup of a key that ended since, is no
reason not to serve: its codes stay in force until they end, and the next key signs.

What is done because its time has come, making, activating and retiring, waits while the clock is not steady
(issuer/clock_guard.py): a key that is retired too early takes codes with it that are in force, and its file
is deleted. Revocations, emergencies and publishing go on whatever the clock says.

While no key at all is in force, as when the only one is revoked and no file can be written for another, a
key set is published with a public key whose private half nobody keeps. A key set without keys does not
exist, and verifiers go on with the one they have until a newer one comes: the codes of the revoked key
would stay valid until there is room on the disk.

A key that is to follow another waits, besides, until Redis is known to hold a key set with it: while
Redis is away no verifier can learn of it, and the former key goes on.

Without the root's private key on this machine no key set is published by itself; what should be is
exported, signed and imported by people, and metrics and log say so until it is.
"""

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import structlog
from sqlalchemy import Connection

from issuer import metrics
from issuer.clock_guard import ClockGuard
from issuer.errors import KeyFileError
from issuer.folder import Folder
from issuer.key_file import Purpose, new_secret, read_key_file, write_key_file
from issuer.key_store import KeyStore, SecretKeyStore, key_id_of
from issuer.keys.lifecycle import (
    Action,
    Activate,
    Key,
    KeyState,
    Prepare,
    PublishKeySet,
    Retire,
    Thresholds,
    is_overdue,
    is_trusted,
    signing_key,
    stale_reasons,
    step,
    why_full,
)
from issuer.keys.next_steps import LONGER_LIFE
from issuer.keys.ring import KeyRing, Signing
from issuer.keys.root import sign_key_set
from issuer.register import keys as rows
from issuer.register.database import Database
from issuer.signing import PAPER_WINDOW_S
from verifier.loop import Loop
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.key_set import MAX_KEYS, KeySet, read_key_set

_PAUSE_S = 1.0
_RETRY_S = 2.0
# How long Redis holds a key, at least, before it signs: verifiers look each second.
MIN_HELD_S = 5
# Beside the former keys whose cards are in force: the one that signs, its successor, one retired late.
_KEYS_BESIDE_FORMER = 3
_DAY_S = 86_400
# An emergency takes four: make, publish, activate, and see that nothing is left to do.
_MAX_ROUNDS = 8

_log = structlog.get_logger("issuer.keys")


class KeySetPublisher(Protocol):
    """Brings the newest key set of the register to Redis (issuer/publisher.py)."""

    def publish_key_set(self) -> bool:
        """Bring it there now; tell whether it is there. Waits for a moment."""


class Rotation:
    """Turns the ring. Threads share it."""

    def __init__(
        self,
        *,
        database: Database,
        ring: KeyRing,
        folder: Folder,
        passphrase: bytes,
        root: KeyStore | None,
        root_public_key: VerifyingKey,
        thresholds: Thresholds,
        publisher: KeySetPublisher,
        clock: Callable[[], float],
        clock_guard: ClockGuard,
    ) -> None:
        """Sign key sets with `root`, None where it is kept elsewhere; `clock` gives Unix seconds.

        New key files are wrapped by `passphrase`.
        """
        self.thresholds = thresholds
        self.publisher = publisher
        self._database = database
        self._ring = ring
        self._folder = folder
        self._passphrase = passphrase
        self._root = root
        self._root_public_key = root_public_key
        self._clock = clock
        self._guard = clock_guard
        self.is_clock_steady = True  # at the last turn
        self._stores: dict[bytes, KeyStore] = {}
        self._unopenable: set[bytes] = set()  # files of PREPARED keys that are no use to this process
        self._read: tuple[bytes, KeySet] | None = None  # the key set read last, signed and read
        self._held_since: dict[bytes, int] = {}  # by key_id: when Redis was first seen to hold it
        self._alarmed: set[object] = set()
        self._turning = threading.Lock()
        self._loop = Loop(self.turn, name="key rotation", pause_s=_PAUSE_S, retry_s=_RETRY_S)

    @property
    def is_root_here(self) -> bool:
        """Whether key sets are signed by themselves."""
        return self._root is not None

    def start(self) -> None:
        """Turn the ring once, so that it has what it signs with, and go on in a thread.

        Raises RegisterUnavailable or KeyFileError.
        """
        if PAPER_WINDOW_S / self.thresholds.life_s + _KEYS_BESIDE_FORMER > MAX_KEYS:
            days = math.ceil(PAPER_WINDOW_S / (MAX_KEYS - _KEYS_BESIDE_FORMER) / _DAY_S)
            _log.warning(
                "cards printed with keys of this life will fill the key set",
                key_life_s=self.thresholds.life_s,
                advice=f"choose at least {days} days (--key-life-s {days * _DAY_S}), or print no cards",
            )
        self.turn()
        self._loop.start()

    def stop(self) -> None:
        """Begin nothing further."""
        self._loop.stop()

    def turn(self) -> None:
        """Do all that is due.

        Raises RegisterUnavailable, or KeyFileError when a key file cannot be written or opened; what is
        not done stays due.
        """
        with self._turning:
            try:
                trouble = self._do_what_is_due()
            finally:
                self._ring.end_waiting()
        if trouble is not None:
            raise trouble

    def key_set(self, connection: Connection) -> KeySet:
        """Return the newest key set; raises NotInitialised or KeySetError."""
        signed, read = rows.read_newest_key_set(connection), self._read
        if read is None or read[0] != signed:
            self._read = read = signed, read_key_set(signed, self._root_public_key)
        return read[1]

    def keys(self, connection: Connection) -> Sequence[Key]:
        """Return all keys, the oldest first, and which of them are lost to this process."""
        return [self._as_it_is_here(key) for key in rows.read_keys(connection)]

    def is_held(self, key_id: bytes) -> bool:
        """Tell whether Redis has held a key for so long that every verifier has it."""
        held_since = self._held_since.get(key_id)
        return held_since is not None and int(self._clock()) >= held_since + MIN_HELD_S

    def read_signed(self, signed: bytes) -> KeySet:
        """Return the key set that somebody brings; raises KeySetError unless it is the root's."""
        return read_key_set(signed, self._root_public_key)

    def next_key_set(self, connection: Connection, *, now: int) -> KeySet:
        """Return what the root should sign next: a set of all keys in force."""
        keys = [key for key in rows.read_keys(connection) if is_trusted(key)]
        return KeySet.of(
            version=_next_version(self.key_set(connection), now),
            issued_at=now,
            expires_at=now + self.thresholds.key_set_life_s,
            keys=[VerifyingKey(key.public_key) for key in keys],
        )

    def make_key(self, connection: Connection, *, now: int) -> bytes:
        """Make a PREPARED key in the caller's transaction; return its key_id; raises KeyFileError."""
        secret = new_secret()
        store = SecretKeyStore(secret)
        key_id = key_id_of(store)
        path = self._folder.signing_key(key_id)
        try:
            write_key_file(path, secret, purpose=Purpose.SIGNING, passphrase=self._passphrase)
        except OSError as error:
            raise KeyFileError(f"{path} cannot be written: {error.strerror}") from None
        rows.add_key(connection, Key(key_id, store.public_key, KeyState.PREPARED, created_at=now))
        self._stores[key_id] = store
        _log.info("key made", key_id=key_id.hex())
        return key_id

    def open_key(self, key_id: bytes) -> KeyStore:
        """Return a key that signs; raises KeyFileError."""
        if key_id not in self._stores:
            self._stores[key_id] = open_signing_key(self._folder, key_id, self._passphrase)
        return self._stores[key_id]

    def _do_what_is_due(self) -> KeyFileError | None:
        """Do it, round after round; return why something could not be done."""
        self.is_clock_steady = self._guard.is_steady(self._clock())
        keys, key_set, now = self._look()
        # The key that signs may have been revoked: nothing more is signed with it from here on.
        trouble = self._turn_ring(keys, key_set)
        for _ in range(_MAX_ROUNDS):
            has_signing_key = signing_key(keys) is not None
            due = [
                action
                for action in step(keys, key_set, self.thresholds, now)
                if self._is_possible(action, has_signing_key=has_signing_key)
            ]
            if not due:
                break
            failed = self._do_all(due, now)
            keys, key_set, now = self._look()
            trouble = self._turn_ring(keys, key_set) or failed
            if failed is not None:
                break
        if not key_set.keys.keys() <= self._held_since.keys():
            self._bring_to_redis(key_set, now)
        self._delete_files(keys)
        self._tell(keys, key_set, now)
        return trouble

    def _look(self) -> tuple[Sequence[Key], KeySet, int]:
        with self._database.read() as connection:
            return self.keys(connection), self.key_set(connection), int(self._clock())

    def _as_it_is_here(self, key: Key) -> Key:
        if not is_trusted(key) or key.key_id in self._stores:
            return key
        is_there = key.key_id not in self._unopenable and self._folder.signing_key(key.key_id).exists()
        return replace(key, is_lost=not is_there)

    def _turn_ring(self, keys: Sequence[Key], key_set: KeySet) -> KeyFileError | None:
        """Put into the ring what the register says; return why that was not possible.

        A key that cannot be opened signs nothing, but must not hold up the publication of a revocation.
        """
        trusted = {key.key_id for key in keys if is_trusted(key)}
        signing = signing_key(keys)
        trouble = None
        turned = None
        if signing is not None and signing.key_id in key_set.keys:
            try:
                turned = Signing(self.open_key(signing.key_id), signing.key_id, key_set)
            except KeyFileError as error:
                trouble = error
        self._ring.turn(turned, trusted=trusted, is_successor_coming=self.is_root_here)
        return trouble

    def _is_possible(self, action: Action, *, has_signing_key: bool) -> bool:
        match action:
            case PublishKeySet():
                return self._root is not None
            case Retire():
                return self.is_clock_steady
            case Activate(key_id) if has_signing_key:
                return self.is_clock_steady and self.is_held(key_id)
            case Prepare() if has_signing_key:
                return self.is_clock_steady
        return True

    def _do_all(self, actions: Sequence[Action], now: int) -> KeyFileError | None:
        """Do what can be done; return why something could not, such as a full disk."""
        failed = None
        for action in actions:
            try:
                self._do(action, now)
            except KeyFileError as error:
                failed = error
        return failed

    def _do(self, action: Action, now: int) -> None:
        match action:
            case Retire(key_id):
                with self._database.write() as connection:
                    is_done = rows.retire_key(connection, key_id, skew_s=self.thresholds.skew_s, now=now)
                if is_done:
                    _log.info("key retired", key_id=key_id.hex())
            case PublishKeySet(_, reasons):
                self._publish([str(reason) for reason in reasons], now)
            case Activate(key_id):
                if not self._can_open(key_id):
                    return
                with self._database.write() as connection:
                    is_done = rows.activate_key(connection, key_id, now=now)
                if is_done:
                    _log.info("key signs", key_id=key_id.hex())
            case Prepare():
                with self._database.write() as connection:
                    self.make_key(connection, now=now)

    def _can_open(self, key_id: bytes) -> bool:
        """Tell whether a PREPARED key can sign; where it cannot, another one is made."""
        try:
            self.open_key(key_id)
        except KeyFileError as error:
            self._unopenable.add(key_id)
            _log.warning(
                "a signing key cannot be opened: another one is made in its place",
                problem=str(error),
                advice=f"gatelight-issuer key revoke {key_id.hex()}",
            )
            return False
        return True

    def _publish(self, reasons: Sequence[str], now: int) -> None:
        if self._root is None:
            return
        with self._database.write() as connection:
            # The keys as they are now: one may have been revoked since the step.
            key_set = self.next_key_set(connection, now=now)
            if not key_set.keys:
                nobodys = SecretKeyStore(new_secret())
                key_set = replace(key_set, keys={key_id_of(nobodys): VerifyingKey(nobodys.public_key)})
            signed = sign_key_set(key_set, self._root)
            self.read_signed(signed)  # what verifiers would refuse is not published
            rows.add_key_set(connection, key_set, signed, now=now)
        self._bring_to_redis(key_set, now)
        _log.info("key set signed", version=key_set.version, keys=len(key_set.keys), reasons=reasons)

    def _bring_to_redis(self, key_set: KeySet, now: int) -> None:
        """Have the newest key set published; the publisher goes on trying."""
        if self.publisher.publish_key_set():
            self._held_since = {key_id: self._held_since.get(key_id, now) for key_id in key_set.keys}

    def _delete_files(self, keys: Sequence[Key]) -> None:
        """Delete the private keys that are out of force."""
        ended = {key.key_id for key in keys if not is_trusted(key)}
        names = {key_id.hex() for key_id in ended}
        for path in self._folder.signing_keys.glob("*.key"):
            if path.stem in names:
                path.unlink(missing_ok=True)
                _log.info("private key deleted", key_id=path.stem)
        for key_id in ended:
            self._stores.pop(key_id, None)

    def _tell(self, keys: Sequence[Key], key_set: KeySet, now: int) -> None:
        life_s = key_set.expires_at - key_set.issued_at
        trusted = [key for key in keys if is_trusted(key)]
        stale = stale_reasons(keys, key_set, self.thresholds, now)
        is_late = is_overdue(keys, self.thresholds, now)
        metrics.KEY_SET_EXPIRES_AT.set(key_set.expires_at)
        metrics.KEY_SET_LIFE_LEFT.set(max(0.0, (key_set.expires_at - now) / life_s))
        metrics.KEY_SET_IS_STALE.set(bool(stale))
        metrics.SIGNING_KEY_IS_OVERDUE.set(is_late)
        for state in KeyState:
            metrics.SIGNING_KEYS.labels(state.name).set(sum(key.state is state for key in keys))
        newest = signing_key(keys)
        left_s = 0 if newest is None else newest.activated_at + self.thresholds.life_s - now
        metrics.SIGNING_KEY_LEFT.set(left_s)
        advice = "" if self.is_root_here else "export the next key set, have the root sign it, import it"
        if now >= self.thresholds.alarm_at(key_set):
            self._alarm(
                ("ends", key_set.version),
                "the key set ends soon: no verifier takes a code after that",
                version=key_set.version,
                days_left=round((key_set.expires_at - now) / 86_400, 1),
                advice=advice,
            )
        if stale and not self.is_root_here:
            self._alarm(
                ("stale", key_set.version, *stale),
                "another key set should be signed",
                reasons=[str(reason) for reason in stale],
                advice=advice,
            )
        if lost := [key.key_id.hex() for key in trusted if key.is_lost]:
            self._alarm(
                ("lost", *lost),
                "files of signing keys are gone or cannot be opened: these sign no more; revoke those that "
                "were revoked before, and those that never signed",
                key_ids=lost,
                advice="; ".join(f"gatelight-issuer key revoke {key_id}" for key_id in lost),
            )
        if is_late:
            signing, full = signing_key(keys), why_full(keys)
            self._alarm(
                ("late", signing and signing.key_id, full),
                "the signing key should have been replaced by now",
                keys_in_force=len(trusted),
                cause=full or None,
                advice=LONGER_LIFE if full else advice,
            )

    def _alarm(self, what: object, message: str, **details: object) -> None:
        """Log something once."""
        if what not in self._alarmed:
            self._alarmed = {what, *list(self._alarmed)[:8]}
            _log.warning(message, **details)


def open_signing_key(folder: Folder, key_id: bytes, passphrase: bytes) -> KeyStore:
    """Return the signing key of that name; raises KeyFileError."""
    path = folder.signing_key(key_id)
    store = SecretKeyStore(read_key_file(path, purpose=Purpose.SIGNING, passphrase=passphrase))
    if key_id_of(store) != key_id:
        raise KeyFileError(f"{path} holds another key than its name says")
    return store


def _next_version(newest: KeySet, now: int) -> int:
    """Return a version above every one before, also where the register was restored from a backup."""
    return max(newest.version + 1, now)
