"""Answer what apps and verifiers ask: bundles, and the key set. Messages in, messages out.

An app sees its own credentials, and those of dependants whose guardian holds an active one of them. To an
app, a credential of somebody else and one that does not exist are the same: NOT_FOUND.
"""

import contextlib
import hashlib
import random
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from issuer import metrics
from issuer.access.roles import Caller, Role
from issuer.answers import Gatekeeper, answers, answers_with_stream
from issuer.bundle_limit import BundleLimit
from issuer.errors import FailedPrecondition, InvalidArgument, NotFound, TooMany
from issuer.idempotency import MAX_CHARACTERS, Answered, IdempotencyRecord
from issuer.keys.ring import KeyRing, Signing
from issuer.masking import mask_name
from issuer.proto_enum import as_enum
from issuer.register.credentials import Credentials
from issuer.register.entries import CredentialEntry, CredentialStanding
from issuer.register.keys import Keys
from issuer.requests import MAX_LIST, bounded, credential_index, text
from issuer.signing import MAX_WINDOWS, ROTATION_S, Credential, IssuedCode, sign_bundle, windows_of
from issuer.v1 import issuer_pb2 as pb
from issuer.v1.issuer_pb2_grpc import IssuerServiceServicer
from verifier.wire.code import CredentialKind

# A home for the elderly may be the guardian of hundreds; more than this belongs into several calls.
_MAX_BUNDLES = 10 * MAX_LIST
_MAX_LISTS_PER_CLIENT = 2
# The last codes of a bundle are for the phone that found no network when it first asked.
_REFRESH_BEFORE_END_S = ROTATION_S // 2


def _is_staff(caller: Caller) -> bool:
    # Whoever holds a code can show it: it is written down who of the staff fetched whose. A city's apps
    # fetch theirs too often for that, and only their own.
    return Role.APP not in caller.roles


def _credentials_target(request: pb.IssueBundlesRequest) -> str:
    dependants = " and dependants" if request.with_dependants else ""
    return f"{len(request.credential_indices)} credentials{dependants}"


class IssuerServicer(IssuerServiceServicer):
    """What apps and verifiers call."""

    def __init__(
        self,
        *,
        credentials: Credentials,
        keys: Keys,
        ring: KeyRing,
        limit: BundleLimit,
        record: IdempotencyRecord,
        gatekeeper: Gatekeeper,
        clock: Callable[[], float],
    ) -> None:
        """Sign with what the ring has; `clock` gives Unix seconds."""
        self.gatekeeper = gatekeeper
        self._credentials = credentials
        self._keys = keys
        self._ring = ring
        self._limit = limit
        self._record = record
        self._clock = clock
        self._rng = random.SystemRandom()
        self._lists: Counter[int] = Counter()  # being read now, by client
        self._lock = threading.Lock()

    @answers(
        Role.APP,
        Role.CLERK,
        target=lambda request: f"credential {request.credential_index}",
        is_recorded=_is_staff,
    )
    def IssueBundle(self, request: pb.IssueBundleRequest, caller: Caller) -> pb.IssueBundleResponse:  # noqa: N802
        """Sign the codes of a credential for consecutive windows."""
        index = credential_index(request.credential_index)
        window_count = _window_count(request.window_count)
        digest = _digest(request)
        with self._record.turn(caller.client_id, request.idempotency_key):
            answered = self._answered(caller, request.idempotency_key, digest)
            now = answered.answered_at if answered else int(self._clock())

            entry = self._visible([index], caller).get(index)
            if entry is None:
                raise NotFound(f"there is no credential {index}")
            if entry.kind is CredentialKind.PAPER and window_count != 1:
                raise InvalidArgument(
                    "window_count", f"expected 1 for a PAPER credential, got {window_count}"
                )
            if entry.state is not CredentialStanding.ACTIVE:
                raise FailedPrecondition(f"credential {index} is {entry.state.name}")
            if not _is_in_time(entry, now):
                raise FailedPrecondition(f"credential {index} is {CredentialStanding.EXPIRED.name}")
            signing = self._signing(answered, now)
            if answered is None or not answered.is_free:
                wait_s = self._limit.take([index]).get(index)
                if wait_s is not None:
                    raise TooMany(f"credential {index} asked too often", retry_after_s=wait_s)
            if answered is None:
                self._record.remember(
                    caller.client_id, request.idempotency_key, Answered(digest, now, signing.key_id)
                )
        return self._bundle(entry, window_count, now, signing)

    @answers_with_stream(Role.APP, Role.CLERK, target=_credentials_target, is_recorded=_is_staff)
    def IssueBundles(  # noqa: N802
        self, request: pb.IssueBundlesRequest, caller: Caller
    ) -> Iterator[pb.IssueBundlesResponse]:
        """Sign the codes of many credentials, refusing some without holding up the others."""
        indices = _credential_indices(request.credential_indices)
        window_count = _window_count(request.window_count)
        digest = _digest(request)
        with self._one_of_few(caller), contextlib.ExitStack() as turn:
            turn.enter_context(self._record.turn(caller.client_id, request.idempotency_key))
            answered = self._answered(caller, request.idempotency_key, digest)
            now = answered.answered_at if answered else int(self._clock())

            # 1. Who is meant, in which order, and whether there is anything to sign.
            entries = self._visible(indices, caller)
            if request.with_dependants:
                indices, entries = self._with_dependants(indices, entries)
            in_force = {
                index
                for index, entry in entries.items()
                if entry.state is CredentialStanding.ACTIVE and _is_in_time(entry, now)
            }
            # 2. Who asked too often. It is remembered before anything is sent: the answer may get lost.
            signing = self._signing(answered, now)
            waits = {} if answered is None else answered.refused
            if answered is None or not answered.is_free:
                limited = [index for index in indices if index in in_force and index not in waits]
                waits = {**waits, **self._limit.take(limited)}
            if answered is None:
                answered = Answered(digest, now, signing.key_id, waits)
                self._record.remember(caller.client_id, request.idempotency_key, answered)
            turn.close()
            # 3. Sign, one bundle at a time, as fast as the client takes them.
            for index in indices:
                if index not in entries:
                    yield _refusal(index, pb.BUNDLE_REFUSAL_REASON_NOT_FOUND)
                elif index not in in_force:
                    yield _refusal(index, pb.BUNDLE_REFUSAL_REASON_NOT_ACTIVE)
                elif index in waits:
                    yield _refusal(index, pb.BUNDLE_REFUSAL_REASON_RATE_LIMITED, retry_after_s=waits[index])
                else:
                    # The key may have been revoked since the last one was sent.
                    signing = self._ring.that_signed(signing.key_id, now=int(self._clock()))
                    bundle = self._bundle(entries[index], window_count, now, signing)
                    yield pb.IssueBundlesResponse(credential_index=index, bundle=bundle)

    @answers(*Role, is_recorded=False)
    def GetKeySet(self, request: pb.GetKeySetRequest, caller: Caller) -> pb.GetKeySetResponse:  # noqa: N802, ARG002
        """Return the published key set."""
        return pb.GetKeySetResponse(signed_key_set=self._keys.newest_key_set())

    def _answered(self, caller: Caller, idempotency_key: str, digest: bytes) -> Answered | None:
        text(idempotency_key, "idempotency_key", MAX_CHARACTERS, is_required=False)
        return self._record.find(caller.client_id, idempotency_key, request_digest=digest)

    def _signing(self, answered: Answered | None, now: int) -> Signing:
        if answered is None:
            return self._ring.current(now=now)
        return self._ring.that_signed(answered.key_id, now=int(self._clock()))

    def _visible(self, indices: Collection[int], caller: Caller) -> Mapping[int, CredentialEntry]:
        """Return those of the credentials that exist as far as the caller may know."""
        entries = self._credentials.entries(indices)
        if Role.CLERK in caller.roles:
            return entries
        foreign = [index for index, entry in entries.items() if entry.app_client_id != caller.client_id]
        carried = self._credentials.carried_by_app(foreign, caller.client_id) if foreign else frozenset()
        return {
            index: entry
            for index, entry in entries.items()
            if entry.app_client_id == caller.client_id or index in carried
        }

    def _with_dependants(
        self, indices: Sequence[int], entries: Mapping[int, CredentialEntry]
    ) -> tuple[Sequence[int], Mapping[int, CredentialEntry]]:
        """Put the dependants of active credentials behind them; who is on the list keeps its place there."""
        guardians = [index for index, entry in entries.items() if entry.state is CredentialStanding.ACTIVE]
        dependants = self._credentials.dependants_of(guardians) if guardians else {}
        listed = set(indices)
        order = dict.fromkeys(
            one
            for index in indices
            for one in (index, *(each for each in dependants.get(index, ()) if each not in listed))
        )
        if len(order) > _MAX_BUNDLES:
            raise InvalidArgument(
                "with_dependants", f"expected at most {_MAX_BUNDLES} bundles, got {len(order)}: ask for fewer"
            )
        added = [index for index in order if index not in listed]
        return list(order), {**entries, **self._credentials.entries(added)}

    def _bundle(
        self, entry: CredentialEntry, window_count: int, now: int, signing: Signing
    ) -> pb.IssueBundleResponse:
        windows = _windows(entry, window_count, now)
        self._ring.reserve(signing, windows[-1][1])
        codes = sign_bundle(_credential(entry), windows, signing=signing, rng=self._rng)
        metrics.CODES_SIGNED.inc(len(codes))
        return pb.IssueBundleResponse(
            codes=[
                pb.SignedCode(
                    qr_text=code.qr_text.decode(), not_before=code.not_before, expires_at=code.expires_at
                )
                for code in codes
            ],
            kind=as_enum(entry.kind),
            generation=entry.generation,
            refresh_after=_refresh_after(entry, codes, now),
        )

    @contextlib.contextmanager
    def _one_of_few(self, caller: Caller) -> Iterator[None]:
        """Let a client read a few lists at once, or one that does not read would take all threads."""
        with self._lock:
            if self._lists[caller.client_id] >= _MAX_LISTS_PER_CLIENT:
                raise TooMany("you are reading as many lists as one client may", retry_after_s=1)
            self._lists[caller.client_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._lists[caller.client_id] -= 1
                if not self._lists[caller.client_id]:
                    del self._lists[caller.client_id]


def _credential(entry: CredentialEntry) -> Credential:
    hint = mask_name(entry.name) if entry.kind is CredentialKind.PAPER else ""
    return Credential(entry.kind, entry.credential_index, entry.generation, hint, entry.valid_until)


def _is_in_time(entry: CredentialEntry, now: int) -> bool:
    """Tell whether there is a window to sign: with the current one gone, all are."""
    return bool(_windows(entry, 1, now))


def _windows(entry: CredentialEntry, window_count: int, now: int) -> Sequence[tuple[int, int]]:
    return windows_of(_credential(entry), window_count=window_count, now=now)


def _refresh_after(entry: CredentialEntry, codes: Sequence[IssuedCode], now: int) -> int:
    """Return when to fetch the next bundle, Unix seconds: in the second half of this one; 0 for PAPER.

    Never at once, also where `valid_until` leaves a bundle of seconds.

    Spread by a hash, not by chance: the same request gets the same answer.
    """
    if entry.kind is CredentialKind.PAPER:
        return 0
    begin, end = codes[0].not_before, codes[-1].expires_at
    half = (begin + end) // 2
    seed = hashlib.sha256(f"{entry.credential_index} {begin} {end}".encode()).digest()
    spread_s = max(1, end - _REFRESH_BEFORE_END_S - half)
    return max(now + 1, half + int.from_bytes(seed[:8], "big") % spread_s)


def _credential_indices(values: Sequence[int]) -> Sequence[int]:
    seen: set[int] = set()
    for number, value in enumerate(bounded(values, "credential_indices")):
        field = f"credential_indices[{number}]"
        if credential_index(value, field) in seen:
            raise InvalidArgument(field, f"{value} is on the list twice")
        seen.add(value)
    return list(values)


def _window_count(value: int) -> int:
    if value > MAX_WINDOWS:
        raise InvalidArgument("window_count", f"expected 1 to {MAX_WINDOWS}, got {value}")
    return value or 1


def _digest(request: pb.IssueBundleRequest | pb.IssueBundlesRequest) -> bytes:
    """Return what tells a request from others under the same idempotency key."""
    kind = type(request).__name__.encode()
    return hashlib.sha256(kind + request.SerializeToString(deterministic=True)).digest()


def _refusal(
    index: int, reason: "pb.BundleRefusalReason", *, retry_after_s: int = 0
) -> pb.IssueBundlesResponse:
    refusal = pb.BundleRefusal(reason=reason, retry_after_s=retry_after_s)
    return pb.IssueBundlesResponse(credential_index=index, refusal=refusal)
