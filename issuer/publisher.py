"""Bring the outbox to Redis: in order, at least once, in one thread.

Killed between the MULTI and the settling of the outbox, we publish the same rows again after a restart:
at most one batch, which ends with the records that Redis holds already, so nobody sees an older state.

Redis is a cache. Each write first checks that Redis is as we left it (issuer/status_writer.py); if it
was emptied, set back to a snapshot, or never written, it is rebuilt from the register. Rows that are in
the outbox when the rebuild takes its snapshot are in the snapshot too, and are dropped with it; what
comes later is published behind it.

While Redis is away the outbox grows, on disk, and callers are told at once that their change is pending.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence

import structlog
from redis.exceptions import ConnectionError as RedisConnectionError

from issuer.errors import CacheMismatch, IssuerError
from issuer.register.keys import Keys
from issuer.register.outbox import FeedPosition, Outbox, OutboxRow
from issuer.status_writer import StatusWriter
from verifier.wire.status_store import MAX_UPDATES_PER_ENTRY, partition_of, shard_of

HEARTBEAT_S = 1.0
# How long an answer may wait to say PUBLISHED. Without trouble it takes about a millisecond.
PUBLICATION_WAIT_S = 0.5
# Soon enough to be live again when Redis is, seldom enough not to burden one that is just starting.
_RETRY_S = 0.2
_STOP_WAIT_S = 5.0

_log = structlog.get_logger("issuer.publisher")


class Publisher:
    """Owns the only thread that writes to Redis."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        keys: Keys,
        writer: StatusWriter,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox = outbox
        self._keys = keys
        self._writer = writer
        self._monotonic = monotonic
        self._positions: Mapping[int, FeedPosition] | None = None  # None: not read from the register yet
        self._next_heartbeat_s = monotonic()
        self._published_seq = 0
        self._trouble: str | None = None
        self._mismatch: str | None = None  # why Redis is being rebuilt
        self._progress = threading.Condition()
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; what is not published stays in the outbox for the next start."""
        self._stopping.set()
        self._woken.set()
        self._thread.join(_STOP_WAIT_S)
        self._writer.close()

    def wait_until_published(self, seq: int) -> bool:
        """Tell whether the outbox is in Redis up to `seq`; waits up to PUBLICATION_WAIT_S for it.

        Does not wait when Redis is known to be away.
        """
        self._woken.set()
        with self._progress:
            self._progress.wait_for(
                lambda: self._published_seq >= seq or self._trouble is not None, PUBLICATION_WAIT_S
            )
            return self._published_seq >= seq

    def turn(self) -> bool:
        """Publish one batch, send the heartbeat when it is due; tell whether more may be waiting.

        Raises RedisError or RegisterUnavailable, the outbox being as it was.
        """
        if self._positions is None:
            self._positions = self._outbox.positions()
        try:
            self._require_all_partitions(self._positions)
            return self._publish(self._positions)
        except CacheMismatch as mismatch:
            self._rebuild(str(mismatch))
            return True

    def _require_all_partitions(self, positions: Mapping[int, FeedPosition]) -> None:
        if not positions:
            raise CacheMismatch("this register never wrote to Redis")
        if len(positions) != self._writer.partitions:
            raise CacheMismatch(f"partitions: {len(positions)} before, {self._writer.partitions} now")

    def _publish(self, before: Mapping[int, FeedPosition]) -> bool:
        rows = self._outbox.next_rows(MAX_UPDATES_PER_ENTRY)
        is_heartbeat_due = self._monotonic() >= self._next_heartbeat_s
        updates = _updates_by_partition(rows, self._writer.partitions)
        positions = dict(before)
        for partition in range(self._writer.partitions):
            if is_heartbeat_due or partition in updates:
                position = self._writer.append(partition, before[partition], updates.get(partition, ()))
                if partition in updates:
                    positions[partition] = position
        if rows:
            self._settle(rows[-1].seq, positions)
        if is_heartbeat_due:
            self._writer.put_key_set(self._keys.newest_key_set())
            self._next_heartbeat_s = self._monotonic() + HEARTBEAT_S
        return len(rows) == MAX_UPDATES_PER_ENTRY

    def _rebuild(self, reason: str) -> None:
        if reason != self._mismatch:
            _log.warning("rebuild of Redis begins", reason=reason)
            self._mismatch = reason
        begun_s = self._monotonic()
        with self._outbox.snapshot() as snapshot:
            positions = self._writer.rebuild(
                snapshot.records,
                signed_key_set=self._keys.newest_key_set(),
            )
        self._settle(snapshot.last_seq, positions)
        self._mismatch = None
        self._next_heartbeat_s = self._monotonic() + HEARTBEAT_S
        _log.info(
            "rebuild of Redis done",
            records=snapshot.record_count,
            seconds=round(self._monotonic() - begun_s, 3),
        )

    def _settle(self, last_seq: int, positions: Mapping[int, FeedPosition]) -> None:
        with self._progress:
            self._published_seq = max(self._published_seq, last_seq)
            self._progress.notify_all()
        self._outbox.settle(last_seq, positions)
        # Not before: where the register could not note it, Redis has to look wrong to us after a rebuild,
        # or rows would be published that are older than the rebuild.
        self._positions = positions

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                is_more_waiting = self.turn()
            except Exception as error:  # noqa: BLE001 - a dead thread would keep every change from the gates
                self._report(error)
                self._stopping.wait(_RETRY_S)
                continue
            self._report(None)
            if not is_more_waiting:
                self._woken.wait(max(0.0, self._next_heartbeat_s - self._monotonic()))

    def _report(self, error: Exception | None) -> None:
        """Log when trouble begins, changes or ends, and not at every attempt."""
        trouble = None if error is None else _describe(error)
        if trouble == self._trouble:
            return
        with self._progress:
            self._trouble = trouble
            self._progress.notify_all()
        if trouble is None:
            _log.info("publishing again")
        else:
            _log.warning("changes are pending: they are safe, but do not reach Redis", trouble=trouble)


def _updates_by_partition(
    rows: Sequence[OutboxRow], partitions: int
) -> Mapping[int, Sequence[tuple[int, int]]]:
    """Return the last record of each credential, by index, for the partitions that have any."""
    newest = {row.credential_index: row.record for row in rows}
    updates: dict[int, list[tuple[int, int]]] = {}
    for index in sorted(newest):
        updates.setdefault(partition_of(shard_of(index), partitions), []).append((index, newest[index]))
    return updates


def _describe(error: Exception) -> str:
    # A lost connection names the address. Other errors of Redis may quote what was sent, and a fault of
    # ours anything: their type says enough.
    is_telling = isinstance(error, IssuerError | RedisConnectionError)
    return f"{type(error).__name__}: {error}" if is_telling else type(error).__name__
