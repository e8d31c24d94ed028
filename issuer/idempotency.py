"""What was answered under an idempotency key, so that the same request gets the same answer.

Signing is deterministic: the answer need not be kept, only from which second and with which key it was
made. The register may have changed since: a credential that was suspended meanwhile is refused, and one
that was replaced gets codes of its new generation, since those of the first answer are void. When the
key that signed was revoked meanwhile, the answer is signed with another.

The first repeats are free, for a client to whom the network is unkind; those that follow are the same answer
too, but count against the rate limit, or one key would be a way around it.

In memory alone: after a restart of the issuer a repeated request counts as a new one.
"""

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from issuer.errors import InvalidArgument

KEPT_S = 600
FREE_REPEATS = 2
MAX_CHARACTERS = 64

_MAX_ENTRIES = 10_000
# Requests under different keys seldom wait for each other.
_TURNS = 64
# Credentials that were refused, over all entries: each is a number, and a list may have thousands.
_MAX_REFUSALS = 200_000


@dataclass(frozen=True, slots=True)
class Answered:
    """How a request was answered."""

    request_digest: bytes
    answered_at: int  # Unix seconds; the first window is the one that was current then
    key_id: bytes
    # Credentials that had asked too often, and for how many seconds they were told to wait.
    refused: Mapping[int, int] = field(default_factory=dict)
    repeats: int = 0  # how often it was asked for again

    @property
    def is_free(self) -> bool:
        """Whether this repeat is one of those that the rate limit does not count."""
        return self.repeats <= FREE_REPEATS


class IdempotencyRecord:
    """Remembers for ten minutes. Threads share it."""

    def __init__(self, *, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._entries: OrderedDict[tuple[int, str], tuple[float, Answered]] = OrderedDict()
        self._refusals = 0
        self._lock = threading.Lock()
        self._turns = [threading.Lock() for _ in range(_TURNS)]

    @contextlib.contextmanager
    def turn(self, client_id: int, idempotency_key: str) -> Iterator[None]:
        """Let one request after the other be found and remembered under a key, so that two copies agree."""
        if not idempotency_key:
            yield
            return
        with self._turns[hash((client_id, idempotency_key)) % _TURNS]:
            yield

    def find(self, client_id: int, idempotency_key: str, *, request_digest: bytes) -> Answered | None:
        """Return how this client's request was answered, and count the repeat.

        None when it was not answered, or has no key. Raises InvalidArgument when the key was used for another
        request.
        """
        if not idempotency_key:
            return None
        with self._lock:
            self._forget_old()
            entry = client_id, idempotency_key
            kept_since_s, answered = self._entries.get(entry, (0.0, None))
            if answered is None:
                return None
            if answered.request_digest != request_digest:
                raise InvalidArgument("idempotency_key", "it was used for another request: choose a new one")
            repeated = replace(answered, repeats=answered.repeats + 1)
            self._entries[entry] = kept_since_s, repeated
            return repeated

    def remember(self, client_id: int, idempotency_key: str, answered: Answered) -> None:
        """Keep how a request is answered, unless it has no key."""
        if not idempotency_key:
            return
        with self._lock:
            _, before = self._entries.pop((client_id, idempotency_key), (0.0, None))
            self._refusals -= len(before.refused) if before else 0
            self._entries[client_id, idempotency_key] = self._monotonic(), answered
            self._refusals += len(answered.refused)
            while len(self._entries) > _MAX_ENTRIES or self._refusals > _MAX_REFUSALS:
                self._forget_oldest()

    def _forget_old(self) -> None:
        while self._entries:
            kept_since_s, _ = next(iter(self._entries.values()))
            if self._monotonic() < kept_since_s + KEPT_S:
                break
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        _, (_, answered) = self._entries.popitem(last=False)
        self._refusals -= len(answered.refused)
