"""Entries that Redis was not told of in time, to be told when it answers again.

Until then other verifiers do not know of them: a code that entered here may enter there once more. So each
waits no longer than Redis is away, and none is kept beyond its own end.
"""

import itertools
import threading
from collections.abc import Sequence
from typing import NamedTuple

# Some 10 MiB, and more than a worker lets in while a phone's code lives. Beyond it the oldest go: they end
# first.
MAX_CLAIMS = 1 << 15
# So many go out at once: less than a millisecond, in which gates wait for this worker and for Redis.
MAX_BATCH = 50


class LateClaim(NamedTuple):
    """An entry, as Redis is to know it."""

    key: str  # without its prefix
    scan: bytes
    forget_at: float  # of the monotonic clock, seconds


class LateClaims:
    """Claims in the order in which they came. Threads share it."""

    def __init__(self, *, limit: int = MAX_CLAIMS) -> None:
        self._claims: dict[str, LateClaim] = {}
        self._limit = limit
        self._changing = threading.Lock()

    def __len__(self) -> int:
        return len(self._claims)

    def add(self, claim: LateClaim) -> None:
        """Keep a claim, in the place of one with its key: that one has ended, or is of the same scan."""
        with self._changing:
            self._claims[claim.key] = claim
            if len(self._claims) > self._limit:
                del self._claims[next(iter(self._claims))]

    def first(self, now: float) -> Sequence[LateClaim]:
        """Return the first claims, MAX_BATCH at most, and forget those that have ended."""
        with self._changing:
            for claim in list(itertools.islice(self._claims.values(), MAX_BATCH)):
                if claim.forget_at <= now:
                    del self._claims[claim.key]
            return list(itertools.islice(self._claims.values(), MAX_BATCH))

    def remove(self, claims: Sequence[LateClaim]) -> None:
        """Forget claims that Redis knows now."""
        with self._changing:
            for claim in claims:
                self._claims.pop(claim.key, None)

    def postpone(self, claims: Sequence[LateClaim]) -> None:
        """Let others go before these, which somebody did not take."""
        with self._changing:
            for claim in claims:
                if (kept := self._claims.pop(claim.key, None)) is not None:
                    self._claims[claim.key] = kept
