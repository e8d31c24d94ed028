"""What operators do to keys by hand, each with a check that says early what cannot work.

The checks run when the request is made, and again in the transaction that carries it out: a day may pass
between the two. That transaction changes the register alone; rotation brings memory, key set and Redis
to it as soon as it is committed.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from sqlalchemy import Connection

from issuer.access.approvals import ApprovalKind, ApprovedRequest, CarriedOut, Executor
from issuer.errors import FailedPrecondition, InvalidArgument, KeyFileError, NotFound
from issuer.keys.drill import Reissue
from issuer.keys.lifecycle import Key, KeyState, is_retirable, is_trusted, signing_key, why_full
from issuer.keys.next_steps import ROOT_ELSEWHERE
from issuer.keys.rotation import MIN_HELD_S, Rotation
from issuer.register import keys as rows
from issuer.register.database import Database
from issuer.v1 import keys_pb2 as pb
from verifier.authenticate import CLOCK_SKEW_S
from verifier.wire.errors import KeySetError
from verifier.wire.key_set import KeySet


class KeyOperations:
    """Checks, and executors of what was approved."""

    def __init__(
        self,
        *,
        database: Database,
        rotation: Rotation,
        reissue: Reissue,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._rotation = rotation
        self._reissue = reissue
        self._monotonic = monotonic

    def executors(self) -> Mapping[ApprovalKind, Executor]:
        """Return what carries out each kind of request."""
        return {
            ApprovalKind.PREPARE_KEY: self.prepare,
            ApprovalKind.ACTIVATE_KEY: self.activate,
            ApprovalKind.RETIRE_KEY: self.retire,
            ApprovalKind.REVOKE_KEY: self.revoke,
            ApprovalKind.DRILL_KEYS: self.drill,
            ApprovalKind.IMPORT_KEY_SET: self.import_key_set,
        }

    # Checks: each raises what its executor would.

    def require_room(self, connection: Connection) -> None:
        """Raise FailedPrecondition when the key set has no place for another key."""
        if full := why_full(rows.read_keys(connection)):
            raise FailedPrecondition(f"{full}: wait until one is retired, or revoke one")

    def require_activatable(self, connection: Connection, key_id: bytes, *, now: int) -> None:
        """Raise NotFound, or FailedPrecondition unless a key is PREPARED and every verifier has it."""
        key = _key(connection, key_id)
        if key.state is not KeyState.PREPARED:
            raise FailedPrecondition(f"key {key_id.hex()} is {key.state.name}, expected PREPARED")
        if key_id not in self._rotation.key_set(connection).keys:
            raise FailedPrecondition(
                f"key {key_id.hex()} is in no published key set: no gate would take its codes"
            )
        if now < key.published_at + MIN_HELD_S:
            raise FailedPrecondition(
                f"key {key_id.hex()} was published a moment ago: wait {MIN_HELD_S} s, until every "
                "verifier has it"
            )
        if not self._rotation.is_held(key_id):
            raise FailedPrecondition(
                f"key {key_id.hex()} has not been seen in Redis for {MIN_HELD_S} s, so verifiers may not "
                "have it: wait, and see that Redis answers"
            )

    def require_retirable(self, connection: Connection, key_id: bytes, *, now: int) -> None:
        """Raise NotFound, or FailedPrecondition unless a key signs no more and all its codes have ended."""
        key, keys = _key(connection, key_id), rows.read_keys(connection)
        if not self._rotation.is_clock_steady:
            raise FailedPrecondition(
                "the clock is not steady, so nobody knows which codes are in force: wait"
            )
        if key.state is not KeyState.ACTIVE:
            raise FailedPrecondition(
                f"key {key_id.hex()} is {key.state.name}, expected ACTIVE"
                + (": revoke it to take it away" if key.state is KeyState.PREPARED else "")
            )
        if key == signing_key(keys):
            raise FailedPrecondition(f"key {key_id.hex()} is the one that signs: activate another one first")
        if not is_retirable(key, keys, self._rotation.thresholds, now):
            left_s = key.last_expires_at + self._rotation.thresholds.skew_s - now
            raise FailedPrecondition(
                f"codes of key {key_id.hex()} may be in force for another {left_s} s: wait, or revoke it"
            )

    def require_revocable(self, connection: Connection, key_id: bytes) -> None:
        """Raise NotFound, or FailedPrecondition for a key that is revoked."""
        if _key(connection, key_id).state is KeyState.REVOKED:
            raise FailedPrecondition(f"key {key_id.hex()} is revoked already")

    def require_drillable(self, connection: Connection) -> Key:
        """Return the key that signs; raises FailedPrecondition when there is none.

        Also where the root is elsewhere and no other key is published: no code could be signed until people
        have been to the root and back, which is more than a drill.
        """
        signing = signing_key(self._rotation.keys(connection))
        if signing is None:
            raise FailedPrecondition("no key signs, so there is none to play a compromise with")
        if not self._rotation.is_root_here and self._successor(connection) is None:
            raise FailedPrecondition(
                "the root key is elsewhere and no other key is published, so no code could be signed after "
                f"the drill: prepare a key first; {ROOT_ELSEWHERE}"
            )
        return signing

    def _successor(self, connection: Connection) -> Key | None:
        """Return a PREPARED key that is published and here; None without one."""
        published = self._rotation.key_set(connection).keys
        for key in self._rotation.keys(connection):
            if key.state is KeyState.PREPARED and key.key_id in published and not key.is_lost:
                return key
        return None

    def require_importable(self, connection: Connection, signed: bytes, *, now: int) -> KeySet:
        """Return the key set that is to be published.

        Raises InvalidArgument for one that is not the root's; FailedPrecondition for one that is not newer
        or not in force, that lacks a key whose codes may be in force, or holds one that is out of force.
        """
        try:
            key_set = self._rotation.read_signed(signed)
        except KeySetError as error:
            raise InvalidArgument("signed_key_set", str(error)) from None
        newest = self._rotation.key_set(connection)
        if key_set.version <= newest.version:
            raise FailedPrecondition(
                f"expected a version above {newest.version}, got {key_set.version}: export again"
            )
        if not key_set.issued_at - CLOCK_SKEW_S <= now < key_set.expires_at:
            raise FailedPrecondition("the key set is not in force now: export again")
        keys = {key.key_id: key for key in rows.read_keys(connection)}
        for key_id in key_set.keys:
            state = keys[key_id].state.name if key_id in keys else "not on the register"
            if key_id not in keys or not is_trusted(keys[key_id]):
                raise FailedPrecondition(f"it holds key {key_id.hex()}, which is {state}: export again")
        for key in keys.values():
            if key.state is KeyState.ACTIVE and key.key_id not in key_set.keys:
                raise FailedPrecondition(
                    f"it lacks key {key.key_id.hex()}, whose codes would all be refused: export again"
                )
        return key_set

    # Executors.

    def prepare(self, connection: Connection, request: ApprovedRequest) -> CarriedOut:
        """Make a key."""
        self.require_room(connection)
        with _refusals():
            key_id = self._rotation.make_key(connection, now=request.now)
        return CarriedOut([f"key {key_id.hex()} is PREPARED"], self._follow)

    def activate(self, connection: Connection, request: ApprovedRequest) -> CarriedOut:
        """Sign with another key."""
        key_id = pb.ActivateKeyRequest.FromString(request.payload).key_id
        self.require_activatable(connection, key_id, now=request.now)
        with _refusals():
            self._rotation.open_key(key_id)
        rows.activate_key(connection, key_id, now=request.now)
        return CarriedOut([f"key {key_id.hex()} is ACTIVE"], self._follow)

    def retire(self, connection: Connection, request: ApprovedRequest) -> CarriedOut:
        """Take a key out of the key set."""
        key_id = pb.RetireKeyRequest.FromString(request.payload).key_id
        self.require_retirable(connection, key_id, now=request.now)
        rows.retire_key(connection, key_id, skew_s=self._rotation.thresholds.skew_s, now=request.now)
        return CarriedOut([f"key {key_id.hex()} is RETIRED"], self._follow)

    def revoke(self, connection: Connection, request: ApprovedRequest) -> CarriedOut:
        """Take a key out of force at once."""
        key_id = pb.RevokeKeyRequest.FromString(request.payload).key_id
        self.require_revocable(connection, key_id)
        rows.revoke_key(connection, key_id, approval_id=request.approval_id, now=request.now)
        return CarriedOut([f"key {key_id.hex()} is REVOKED"], self._follow)

    def drill(self, connection: Connection, request: ApprovedRequest) -> CarriedOut:
        """Revoke the key that signs, as if it were stolen, and go on with the next, made if there is none."""
        began_s = self._monotonic()
        bundle_count = pb.DrillKeysRequest.FromString(request.payload).bundle_count
        stolen = self.require_drillable(connection).key_id
        rows.revoke_key(connection, stolen, approval_id=request.approval_id, now=request.now)
        successor = self._successor(connection)
        with _refusals():
            next_id = successor.key_id if successor else self._rotation.make_key(connection, now=request.now)
        first = f"key {stolen.hex()} is REVOKED, key {next_id.hex()} is PREPARED"

        def follow() -> Sequence[str]:
            lines = [self._timed(began_s, "both are in the register")]
            lines += [self._timed(began_s, line) for line in self._follow()]
            if bundle_count:
                lines.append(self._timed(began_s, self._reissue(bundle_count)))
            return lines

        return CarriedOut([first], follow)

    def import_key_set(self, connection: Connection, request: ApprovedRequest) -> CarriedOut:
        """Publish what the root signed elsewhere."""
        signed = pb.ImportKeySetRequest.FromString(request.payload).signed_key_set
        key_set = self.require_importable(connection, signed, now=request.now)
        rows.add_key_set(connection, key_set, signed, now=request.now)
        line = f"key set {key_set.version} with {len(key_set.keys)} keys is published"
        return CarriedOut([line], self._follow)

    def _follow(self) -> Sequence[str]:
        """Bring memory, key set and Redis to what was committed; return what came of it."""
        problem = ""
        try:
            self._rotation.turn()
        except KeyFileError as error:  # what else was due is done
            problem = str(error)
        with self._database.read() as connection:
            keys, key_set = self._rotation.keys(connection), self._rotation.key_set(connection)
        lines = [self._describe_publication(keys, key_set)]
        signing = signing_key(keys)
        if problem:
            lines.append(problem)
        if signing is None and self._rotation.is_root_here:
            lines.append("no key signs: bundles are refused until another key can be made")
        elif signing is None or signing.key_id not in key_set.keys:
            lines.append("no key signs: bundles are refused until a key set with a new key is imported")
        else:
            lines.append(f"key {signing.key_id.hex()} signs")
        return lines

    def _describe_publication(self, keys: Sequence[Key], key_set: KeySet) -> str:
        untrusted = [key for key in keys if not is_trusted(key) and key.key_id in key_set.keys]
        if untrusted:
            names = ", ".join(key.key_id.hex() for key in untrusted)
            return f"verifiers still take codes of {names}: {ROOT_ELSEWHERE}"
        if any(is_trusted(key) and key.key_id not in key_set.keys for key in keys):
            return f"a key is not published yet: {ROOT_ELSEWHERE}"
        if self._rotation.publisher.publish_key_set():
            return f"key set {key_set.version} is in Redis: verifiers take it within a second or two"
        return (
            f"key set {key_set.version} is signed, but Redis does not answer: verifiers take it when it does"
        )

    def _timed(self, began_s: float, line: str) -> str:
        return f"{(self._monotonic() - began_s) * 1_000:8,.0f} ms  {line}"


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Make a key file that cannot be used a reason why the request cannot be carried out."""
    try:
        yield
    except KeyFileError as error:
        raise FailedPrecondition(str(error)) from None


def _key(connection: Connection, key_id: bytes) -> Key:
    for key in rows.read_keys(connection):
        if key.key_id == key_id:
            return key
    raise NotFound(f"there is no key {key_id.hex()}")
