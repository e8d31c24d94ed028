"""From the stream into the register, a few batches at a time.

One turn:
1. Hold the lease; without it, stand by.
2. Take the next batches and read their entries. What is damaged is counted and left out. What is dated more
   than a day ahead, by a verifier whose clock is wrong, is stored as of now, and counted: else it would come
   first in every search, and outlive every purge.
3. Store the entries, in short transactions: on SQLite, the process that serves writes to the same file.
4. Look for suspected copies among what came.
5. Acknowledge the batches.
Whatever fails, Redis or the register, the batches stay in the stream and are taken again; what was stored
already is stored once. Suspects are looked for before the acknowledgement, so none is missed either.
"""

import math
import time
from collections.abc import Callable, Sequence

import redis
import structlog

from issuer.archive import metrics
from issuer.archive.entries import MAX_AHEAD_MS, dated_by, read_batch
from issuer.archive.stream import ScanStream, StreamEntry
from issuer.archive.suspects import codes_of, suspects_among
from issuer.register.scans import ScanRow, Scans
from issuer.register.showings import Showings
from issuer.register.suspects import Suspects
from verifier.wire.code import CredentialKind

# A transaction of so many takes some 50 ms on SQLite. Fewer would cost more each, because every transaction
# writes the pages of the indices that it touched.
MAX_ROWS = 2_000
_STAND_BY_S = 1.0
# SQLite's writers wait by trying again and again: who serves must find the file free nearly as often as not.
_SHARE_OF_OTHERS = 0.4

_KINDS = {int(kind): kind.name for kind in CredentialKind}

_log = structlog.get_logger("archive")


class Consumer:
    """Makes the turns; used by one thread."""

    def __init__(
        self,
        *,
        stream: ScanStream,
        scans: Scans,
        showings: Showings,
        suspects: Suspects,
        walk_s: int,
        shares_file: bool,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """With `shares_file`, leave the register to others for as long as it was taken from them.

        `clock` gives Unix seconds.
        """
        self._stream = stream
        self._scans = scans
        self._showings = showings
        self._suspects = suspects
        self._walk_s = walk_s
        self._shares_file = shares_file
        self._clock = clock
        self._sleep = sleep
        self._monotonic = monotonic
        self._free_until = 0.0

    def turn(self) -> None:
        """Make a turn; raises redis.RedisError or RegisterUnavailable, and then the next one begins again."""
        try:
            self._turn()
        except redis.RedisError:
            # What waits in a stream that does not answer, nobody knows.
            metrics.WAITING.set(math.nan)
            metrics.LAG.set(math.nan)
            raise

    def _turn(self) -> None:
        if not self._stream.hold():
            metrics.WAITING.set(0)  # they are another archive's to tell of
            metrics.LAG.set(0)
            self._sleep(_STAND_BY_S)
            return
        metrics.WAITING.set(self._stream.waiting())
        try:
            entries = self._stream.take()
            metrics.LAG.set(self._age_of(entries))
            if entries:
                self._archive(entries)
        except BaseException:
            self._stream.begin_again()
            raise

    def _archive(self, entries: Sequence[StreamEntry]) -> None:
        rows: list[ScanRow] = []
        for entry in entries:
            batch = read_batch(entry.frames)
            rows += batch.rows
            if batch.is_damaged:
                metrics.DAMAGED.inc()
                _log.error(
                    "damaged batch in the scan log: what could be read of it is archived",
                    entry=entry.entry_id.decode(),
                    entries=len(batch.rows),
                )
        rows = self._dated(rows)
        for begin in range(0, len(rows), MAX_ROWS):
            self._store(rows[begin : begin + MAX_ROWS])
        if self._stream.acknowledge(entries):
            metrics.BATCHES.inc(len(entries))
        else:
            _log.warning("another archive has taken over", batches=len(entries))
            self._stream.begin_again()

    def _age_of(self, entries: Sequence[StreamEntry]) -> float:
        """Return how long ago the first of some batches came, by Redis's clock; 0 without any."""
        if not entries:
            return 0.0
        came_ms = int(entries[0].entry_id.partition(b"-")[0])
        return max(0.0, self._clock() - came_ms / 1000)

    def _dated(self, rows: list[ScanRow]) -> list[ScanRow]:
        now_ms = int(self._clock() * 1000)
        if max((row.verified_at_ms for row in rows), default=0) <= now_ms + MAX_AHEAD_MS:
            return rows
        # Our own clock may be the one that is wrong. What we have archived was not ahead.
        now_ms = max(now_ms, self._scans.newest_ms() or 0)
        dated = dated_by(rows, now_ms=now_ms)
        if ahead := sum(old is not new for old, new in zip(rows, dated, strict=True)):
            metrics.AHEAD.inc(ahead)
            _log.warning(
                "scans dated over a day ahead are stored as of now: set that clock right", scans=ahead
            )
        return dated

    def _store(self, rows: Sequence[ScanRow]) -> None:
        began = self._monotonic()
        if began < self._free_until:
            self._sleep(self._free_until - began)
            began = self._monotonic()
        metrics.ARCHIVED.inc(self._scans.store(rows))
        ended = self._monotonic()
        if self._shares_file:
            self._free_until = ended + (ended - began) * _SHARE_OF_OTHERS / (1 - _SHARE_OF_OTHERS)
        self._look_for_copies(rows)
        self._stream.hold()

    def _look_for_copies(self, rows: Sequence[ScanRow]) -> None:
        for code in self._showings.shown_elsewhere(codes_of(rows, walk_s=self._walk_s)):
            found = suspects_among(self._showings.of_code(code), walk_s=self._walk_s)
            for suspect in self._suspects.add(found):
                kind = _KINDS.get(suspect.kind, "UNKNOWN")  # of a verifier newer than we are
                metrics.SUSPECTS.labels(kind).inc()
                _log.warning(
                    "suspected copy: one code at two gates; see gatelight-issuer scan suspects",
                    seq=suspect.seq,
                    kind=kind,
                    apart_ms=suspect.second_at_ms - suspect.first_at_ms,
                )
