"""Keep the gate list current: read it from Redis, and publish what GateLists took to the workers.

A list may be megabytes, so each look asks for its last 64 bytes alone: the signature, which is another one
for every list. A list that is refused is not fetched again before it, or the key set, changes.
"""

from collections.abc import Callable

import structlog

from verifier.access.gate_lists import GateLists
from verifier.errors import NotReady, StatusMissing
from verifier.key_set_follower import KeySets
from verifier.redis_connection import connect
from verifier.wire.ed25519 import SIGNATURE_BYTES
from verifier.wire.errors import GateListError
from verifier.wire.gate_list import MAX_SIGNED_GATE_LIST_BYTES
from verifier.wire.status_store import GATE_LIST_KEY

# How often to look: a credential that is taken away is refused everywhere within seconds.
REFRESH_S = 1.0
_REPLY_TIMEOUT_S = 1.0

_log = structlog.get_logger("verifier.gate_list")


class GateListFollower:
    """Offers GateLists what Redis holds; a verifier.loop.Loop makes it look."""

    def __init__(
        self,
        *,
        redis_url: str,
        gate_lists: GateLists,
        key_sets: KeySets,
        publish: Callable[[bytes], None],
        clock: Callable[[], float],
        is_needed: bool = False,
    ) -> None:
        """`publish` takes the bytes of each list that was taken; `clock` returns Unix seconds.

        Where the list `is_needed`, that there is none is an error, as it is where there was one.
        """
        self._redis = connect(
            redis_url, reply_timeout_s=_REPLY_TIMEOUT_S, client_name="gatelight-gate-list", key=GATE_LIST_KEY
        )
        self._gate_lists = gate_lists
        self._key_sets = key_sets
        self._publish = publish
        self._clock = clock
        self._is_needed = is_needed
        self._looked_at: tuple[bytes, frozenset[bytes]] | None = None  # a signature, and the keys there were
        self._refusal: GateListError | None = None
        self._unpublished: bytes | None = None  # what was taken and could not be published yet

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()

    def refresh(self) -> None:
        """Look once; raises redis.RedisError, StatusMissing, GateListError, or what `publish` raises.

        The gate list is then as it was, and the next look tries again.
        """
        try:
            keys = self._key_sets.in_force(int(self._clock())).keys
        except NotReady:  # nobody's signature could be believed; whoever follows the key set reports it
            return
        signature = self._redis.getrange(GATE_LIST_KEY, -SIGNATURE_BYTES, -1)
        if not isinstance(signature, bytes) or not signature:
            if self._is_needed or self._gate_lists.newest is not None:
                raise StatusMissing("Redis holds no gate list: the issuer has not written it")
            return
        look = (signature, frozenset(keys))
        if look != self._looked_at:
            # A byte more than a list may have: enough to see that it is none, whatever lies there.
            signed = self._redis.getrange(GATE_LIST_KEY, 0, MAX_SIGNED_GATE_LIST_BYTES)
            if not isinstance(signed, bytes):
                return
            self._refusal = None
            try:
                if self._gate_lists.offer(signed, keys):
                    self._unpublished = signed
            except GateListError as error:
                self._refusal = type(error)(*error.args)
            self._publish_taken()
            self._looked_at = look
        if self._refusal is not None:
            raise type(self._refusal)(*self._refusal.args)

    def _publish_taken(self) -> None:
        """Publish the list that was taken last, if it is not; never what Redis holds now, perhaps another."""
        if self._unpublished is None:
            return
        self._publish(self._unpublished)
        self._unpublished = None
        taken = self._gate_lists.newest
        if taken is not None:
            _log.info("gate list taken", version=taken.version, gates=taken.gates)
