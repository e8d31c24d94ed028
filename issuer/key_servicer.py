"""Answer what operators ask of signing keys and key set. Messages in, messages out.

What changes something is checked at once, so that the operator hears what cannot work, and then stored as
a request for a second person; approving it carries it out (issuer/keys/operations.py).
"""

from collections.abc import Callable

from google.protobuf.message import Message

from issuer.access.approvals import ApprovalKind, ApprovalRequests
from issuer.access.roles import Caller, Role
from issuer.answers import Gatekeeper, answers
from issuer.errors import FailedPrecondition, InvalidArgument
from issuer.keys.lifecycle import Key, signing_key, stale_reasons
from issuer.keys.next_steps import next_step
from issuer.keys.operations import KeyOperations
from issuer.keys.rotation import Rotation
from issuer.proto_enum import as_enum
from issuer.register.database import Database
from issuer.v1 import keys_pb2 as pb
from issuer.v1.keys_pb2_grpc import KeyServiceServicer
from verifier.wire.cose import KEY_ID_BYTES
from verifier.wire.key_set import KeySet, encode_payload

MAX_DRILL_BUNDLES = 100_000


class KeyServicer(KeyServiceServicer):
    """What operators call."""

    def __init__(
        self,
        *,
        database: Database,
        rotation: Rotation,
        operations: KeyOperations,
        approvals: ApprovalRequests,
        gatekeeper: Gatekeeper,
        clock: Callable[[], float],
    ) -> None:
        """`clock` gives Unix seconds."""
        self.gatekeeper = gatekeeper
        self._database = database
        self._rotation = rotation
        self._operations = operations
        self._approvals = approvals
        self._clock = clock

    @answers(Role.OPERATOR, Role.AUDITOR)
    def ListKeys(self, request: pb.ListKeysRequest, caller: Caller) -> pb.ListKeysResponse:  # noqa: N802, ARG002
        """List all signing keys, the newest first, and how the key set stands."""
        with self._database.read() as connection:
            keys, key_set = self._rotation.keys(connection), self._rotation.key_set(connection)
        stale = stale_reasons(keys, key_set, self._rotation.thresholds, self._now())
        signing = signing_key(keys)
        return pb.ListKeysResponse(
            keys=[
                _message(
                    key,
                    is_signing=key == signing,
                    is_published=key.key_id in key_set.keys,
                    next_step=next_step(
                        key,
                        keys,
                        key_set,
                        self._rotation.thresholds,
                        is_root_here=self._rotation.is_root_here,
                    ),
                )
                for key in reversed(keys)
            ],
            key_set=_standing(key_set, is_root_here=self._rotation.is_root_here, is_stale=bool(stale)),
        )

    @answers(Role.OPERATOR)
    def PrepareKey(self, request: pb.PrepareKeyRequest, caller: Caller) -> pb.PrepareKeyResponse:  # noqa: N802
        """Ask for a new key."""
        with self._database.read() as connection:
            self._operations.require_room(connection)
        approval_id = self._ask(ApprovalKind.PREPARE_KEY, request, "make a signing key", caller)
        return pb.PrepareKeyResponse(approval_id=approval_id)

    @answers(Role.OPERATOR, target=lambda request: f"key {request.key_id.hex()}")
    def ActivateKey(self, request: pb.ActivateKeyRequest, caller: Caller) -> pb.ActivateKeyResponse:  # noqa: N802
        """Ask to sign with another key."""
        key_id = _key_id(request.key_id)
        with self._database.read() as connection:
            self._operations.require_activatable(connection, key_id, now=self._now())
        summary = f"sign with key {key_id.hex()}"
        approval_id = self._ask(ApprovalKind.ACTIVATE_KEY, request, summary, caller)
        return pb.ActivateKeyResponse(approval_id=approval_id)

    @answers(Role.OPERATOR, target=lambda request: f"key {request.key_id.hex()}")
    def RetireKey(self, request: pb.RetireKeyRequest, caller: Caller) -> pb.RetireKeyResponse:  # noqa: N802
        """Ask to take a key that signs no more out of the key set."""
        key_id = _key_id(request.key_id)
        with self._database.read() as connection:
            self._operations.require_retirable(connection, key_id, now=self._now())
        summary = f"retire key {key_id.hex()}"
        approval_id = self._ask(ApprovalKind.RETIRE_KEY, request, summary, caller)
        return pb.RetireKeyResponse(approval_id=approval_id)

    @answers(Role.OPERATOR, target=lambda request: f"key {request.key_id.hex()}")
    def RevokeKey(self, request: pb.RevokeKeyRequest, caller: Caller) -> pb.RevokeKeyResponse:  # noqa: N802
        """Ask to revoke a key."""
        key_id = _key_id(request.key_id)
        with self._database.read() as connection:
            self._operations.require_revocable(connection, key_id)
            signing = signing_key(self._rotation.keys(connection))
        is_signing = signing is not None and signing.key_id == key_id
        summary = f"revoke key {key_id.hex()}{', which signs now' if is_signing else ''}"
        summary = f"{summary}: all its codes are refused, and cards signed by it are void"
        approval_id = self._ask(ApprovalKind.REVOKE_KEY, request, summary, caller)
        return pb.RevokeKeyResponse(approval_id=approval_id)

    @answers(Role.OPERATOR, target=lambda request: f"{request.bundle_count} bundles")
    def DrillKeys(self, request: pb.DrillKeysRequest, caller: Caller) -> pb.DrillKeysResponse:  # noqa: N802
        """Ask to play a whole compromise."""
        if request.bundle_count > MAX_DRILL_BUNDLES:
            raise InvalidArgument(
                "bundle_count", f"expected 0 to {MAX_DRILL_BUNDLES}, got {request.bundle_count}"
            )
        with self._database.read() as connection:
            signing = self._operations.require_drillable(connection)
        summary = (
            f"drill: revoke key {signing.key_id.hex()}, which signs now: all its codes are refused, and "
            "cards that it signed end too and have to be printed anew; "
            f"then sign {request.bundle_count} bundles anew and throw them away"
        )
        approval_id = self._ask(ApprovalKind.DRILL_KEYS, request, summary, caller)
        return pb.DrillKeysResponse(approval_id=approval_id)

    @answers(Role.OPERATOR)
    def ExportKeySet(self, request: pb.ExportKeySetRequest, caller: Caller) -> pb.ExportKeySetResponse:  # noqa: N802, ARG002
        """Return the key set that should be published next, unsigned."""
        with self._database.read() as connection:
            key_set = self._rotation.next_key_set(connection, now=self._now())
        if not key_set.keys:
            raise FailedPrecondition("no key is in force, so there is nothing to sign: prepare a key first")
        return pb.ExportKeySetResponse(payload=encode_payload(key_set))

    @answers(Role.OPERATOR)
    def ImportKeySet(self, request: pb.ImportKeySetRequest, caller: Caller) -> pb.ImportKeySetResponse:  # noqa: N802
        """Ask to publish a key set that the root signed."""
        with self._database.read() as connection:
            key_set = self._operations.require_importable(connection, request.signed_key_set, now=self._now())
        summary = f"publish key set {key_set.version} with {len(key_set.keys)} keys"
        approval_id = self._ask(ApprovalKind.IMPORT_KEY_SET, request, summary, caller)
        return pb.ImportKeySetResponse(approval_id=approval_id)

    def _ask(self, kind: ApprovalKind, request: Message, summary: str, caller: Caller) -> int:
        payload = request.SerializeToString()
        return self._approvals.request(kind, payload, summary=summary, caller=caller, now=self._now())

    def _now(self) -> int:
        return int(self._clock())


def _key_id(value: bytes) -> bytes:
    if len(value) != KEY_ID_BYTES:
        raise InvalidArgument("key_id", f"expected {KEY_ID_BYTES} bytes, got {len(value)}")
    return value


def _message(key: Key, *, is_signing: bool, is_published: bool, next_step: str) -> pb.SigningKey:
    return pb.SigningKey(
        key_id=key.key_id,
        state=as_enum(key.state),
        is_signing=is_signing,
        is_published=is_published,
        created_at=key.created_at,
        published_at=key.published_at,
        activated_at=key.activated_at,
        ended_at=key.ended_at,
        last_expires_at=key.last_expires_at,
        next_step=next_step,
    )


def _standing(key_set: KeySet, *, is_root_here: bool, is_stale: bool) -> pb.KeySetStanding:
    return pb.KeySetStanding(
        version=key_set.version,
        issued_at=key_set.issued_at,
        expires_at=key_set.expires_at,
        is_root_here=is_root_here,
        is_stale=is_stale,
    )
