"""Bring the outbox to Redis: in order, at least once, in one thread.

A row of the outbox says which credential; its record is read when it is published. Killed between the
MULTI and the settling of the outbox, we publish the same rows again after a restart: at most one batch,
with records as new or newer, so nobody sees an older state.

Redis is a cache. Each write first checks that Redis is as we left it (issuer/status_writer.py); if it
was emptied, set back to a snapshot, or never written, it is rebuilt from the register, without an epoch
until it is whole: verifiers keep their mirrors, and load it when it is done. Rows that are in the outbox
when such a rebuild begins are covered by it, and dropped with it; what comes later is published behind it.
Partitions on a node of a Cluster that is silent then are left out, with their rows, and as they were: when it
answers again, they are as we left them, or rebuilt as well.
A rebuild that an operator asks for, on a Redis that is as we left it, is a job that goes on in steps
between batches and heartbeats (issuer/cache_steps.py), as checks and repairs do.

Key set and gate list, which verifiers believe for their signatures alone, are put there with each heartbeat
if they are gone or other ones, and at once when there is a new one.

While Redis is away the outbox grows, on disk, and callers are told at once that their change is pending.
"""

import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import structlog
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from issuer.cache_job import CacheJob
from issuer.cache_steps import Cache, CacheSteps, Progress, rebuild_status
from issuer.errors import CacheMismatch, CacheUnavailable, FailedPrecondition, IssuerError
from issuer.metrics import HEARTBEAT_AGE, OUTBOX_ROWS, UNPUBLISHED
from issuer.register.keys import Keys
from issuer.register.outbox import FeedPosition, Outbox
from issuer.status_writer import StatusWriter
from verifier.wire.status_store import MAX_UPDATES_PER_ENTRY, partition_of, shard_of

HEARTBEAT_S = 1.0
# How long an answer may wait to say PUBLISHED. Without trouble it takes about a millisecond.
PUBLICATION_WAIT_S = 0.5
# Soon enough to be live again when Redis is, seldom enough not to burden one that is just starting.
_RETRY_S = 0.2
# For as many times what it cost is a server of a Cluster left alone that does not answer while others do: a
# frozen one holds up the thread for a second, and may do so a fifth of the time.
_SILENT_PAUSES = 4
_STOP_WAIT_S = 5.0
# Beside threads that compute, a turn waits its twentieth of a second however much it carries. In Redis it is
# a matter of 10 ms.
_ROWS_PER_TURN = 4 * MAX_UPDATES_PER_ENTRY
_COUNT_S = 1.0
# Of a partition that we have not written yet: whatever is there does not match it.
_NOT_WRITTEN = FeedPosition("not written", "0-0")

_Reached = TypeVar("_Reached")

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
        self._next_heartbeat_s = self._next_count_s = self._heartbeat_at_s = monotonic()
        self._waiting: tuple[int, float] | None = (
            None  # a row of the outbox, and since when it is known to wait
        )
        # Partitions on servers of a Cluster that do not answer, while others do, and what came instead.
        self._silent: frozenset[int] = frozenset()
        self._are_documents_silent = False  # the same of key set and gate list
        self._silence = RedisError()
        self._ask_silent_at_s = 0.0
        self._ahead_seq = 0  # of the last row that was published past those of such partitions
        self._mismatch: str | None = None  # why Redis is being rebuilt
        self._is_eviction_known = False
        self._is_ours = False  # this Redis has taken status from us, so that it is no other issuer's
        # Shared with the threads that wait.
        self._published_seq = 0
        self._gate_list: bytes | None = None  # the one signed last
        self._documents_asked = 0
        self._documents_put = 0
        self._trouble: str | None = None
        self._job: CacheJob | None = None
        self._is_rebuilding = False
        self._progress = threading.Condition()
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._cache = Cache(
            outbox=outbox,
            keys=keys,
            writer=writer,
            fences=lambda: self._positions or {},
            adopt=lambda positions: self._settle(0, positions),
            gate_list=lambda: self._gate_list,
        )

    def start(self) -> None:
        """Begin to publish."""
        HEARTBEAT_AGE.set_function(lambda: self._monotonic() - self._heartbeat_at_s)
        UNPUBLISHED.set_function(self._unpublished_s)
        self._thread.start()

    def stop(self) -> None:
        """Stop; what is not published stays in the outbox for the next start."""
        self._stopping.set()
        self._woken.set()
        self._thread.join(_STOP_WAIT_S)
        self._fail_job(CacheUnavailable("the issuer stops"))
        self._writer.close()

    def wake(self) -> None:
        """Publish what is in the outbox now, and not only at the next heartbeat."""
        self._woken.set()

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

    def publish_key_set(self) -> bool:
        """Put the register's newest key set into Redis at once; tell whether it is there, as above."""
        with self._progress:
            self._documents_asked += 1
            return self._wait_for_documents(self._documents_asked)

    def publish_gate_list(self, signed: bytes) -> bool:
        """Put a gate list, newer than any before, into Redis at once, and keep it there; as above."""
        with self._progress:
            self._gate_list = signed
            self._documents_asked += 1
            return self._wait_for_documents(self._documents_asked)

    def carry_out(self, steps: CacheSteps) -> Generator[Progress, None, None]:
        """Rebuild, check or repair Redis (issuer/cache_steps.py) and give the progress, at least each second.

        Closing the iterator ends the job after the step under way. Raises FailedPrecondition while another
        one is under way, or when Redis holds the status of another issuer; CacheUnavailable;
        RegisterUnavailable.
        """
        job = CacheJob(steps(self._cache))
        with self._progress:
            if self._stopping.is_set():
                raise CacheUnavailable("the issuer stops")
            if self._job is not None or self._is_rebuilding:
                raise FailedPrecondition("Redis is being rebuilt or checked already: wait until that is done")
            self._job = job
        self._woken.set()
        try:
            yield from job.watch()
        finally:
            job.cancel()
            self._woken.set()

    def turn(self) -> bool:
        """Publish one batch, send the heartbeat when it is due, and make a step of the job if there is one.

        Returns whether there may be more to do. Raises RedisError or RegisterUnavailable, the outbox being
        as it was and the job at its end.
        """
        try:
            self._count_backlog()
            return self._work()
        except Exception as error:
            self._fail_job(error)
            raise

    def _work(self) -> bool:
        if self._positions is None:
            self._positions = self._outbox.positions()
        try:
            self._require_all_partitions(self._positions)
            is_more_waiting = self._publish(self._positions)
            if not self._is_eviction_known:
                self._warn_of_eviction()
            return self._advance_job() or is_more_waiting
        except CacheMismatch as mismatch:
            self._rebuild(str(mismatch))
            return True

    def _warn_of_eviction(self) -> None:
        """Say once, loudly, when this Redis forgets what it likes: gates need all of what lies there."""
        policy = self._writer.eviction_policy()
        self._is_eviction_known = True
        if policy not in (None, "noeviction"):
            _log.error(
                "Redis drops keys when its memory is full: set maxmemory-policy to noeviction, or used codes "
                "open again and status is lost",
                maxmemory_policy=policy,
            )

    def _require_all_partitions(self, positions: Mapping[int, FeedPosition]) -> None:
        if not positions:
            raise CacheMismatch("the register has no note of an earlier write to Redis")
        if len(positions) != self._writer.partitions:
            raise CacheMismatch(f"partitions: {len(positions)} before, {self._writer.partitions} now")

    def _publish(self, before: Mapping[int, FeedPosition]) -> bool:
        left_out = self._silent
        batch = self._outbox.next_batch(_ROWS_PER_TURN, without=left_out, partitions=self._writer.partitions)
        is_document_asked = self._is_document_asked() and not self._are_documents_silent
        is_heartbeat_due = self._monotonic() >= self._next_heartbeat_s or is_document_asked
        updates = _by_partition(batch.updates, self._writer.partitions)
        try:
            positions = self._append(before, updates, is_heartbeat_due=is_heartbeat_due)
        except RedisError:
            if is_heartbeat_due:
                self._try_documents_alone()
            raise
        if left_out or self._silent:
            # Of the rows up to there some wait still.
            self._ahead_seq = max(self._ahead_seq, batch.last_seq)
        else:
            is_all = batch.row_count < _ROWS_PER_TURN
            self._tell_published(max(batch.last_seq, self._ahead_seq if is_all else 0))
        if batch.row_count:
            self._settle(batch.last_seq, positions, without=left_out | self._silent)
        if is_heartbeat_due:
            self._next_heartbeat_s = self._monotonic() + HEARTBEAT_S
            if not self._are_documents_silent:
                self._try_documents()
        is_more_waiting = batch.row_count == _ROWS_PER_TURN
        self._ask_silent(positions)
        if self._is_any_silent:
            if is_more_waiting:
                self._woken.set()
            raise self._silence.with_traceback(None)  # it may be raised many times
        if is_heartbeat_due:
            self._note_heartbeat()
        return is_more_waiting or bool(left_out)

    def _append(
        self,
        before: Mapping[int, FeedPosition],
        updates: Mapping[int, Sequence[tuple[int, int]]],
        *,
        is_heartbeat_due: bool,
    ) -> Mapping[int, FeedPosition]:
        """Write to those with updates, or to all that are not silent; return where the feeds stand then.

        A node of a Cluster that is away holds up its own partitions alone, which are silent then. Raises
        RedisError when no server answered.
        """
        chosen = range(self._writer.partitions) if is_heartbeat_due else sorted(updates)
        asked = [partition for partition in chosen if partition not in self._silent]
        reached = self._write(asked, self._appending(before, updates))
        return {**before, **{partition: reached[partition] for partition in updates if partition in reached}}

    def _appending(
        self, before: Mapping[int, FeedPosition], updates: Mapping[int, Sequence[tuple[int, int]]]
    ) -> Callable[[int], FeedPosition]:
        return lambda partition: self._writer.append(partition, before[partition], updates.get(partition, ()))

    def _write(self, asked: Collection[int], write: Callable[[int], _Reached]) -> Mapping[int, _Reached]:
        """Write to partitions, and note which are silent; raises RedisError when no server answered."""
        reached = self._reach(asked, write)
        if asked and not reached:
            self._silent = frozenset()
            raise self._silence
        self._silent = self._silent.union(asked).difference(reached)
        return reached

    def _reach(self, partitions: Iterable[int], write: Callable[[int], _Reached]) -> Mapping[int, _Reached]:
        """Write to partitions; return what came of it for those that answered."""
        reached: dict[int, _Reached] = {}
        failed: set[object] = set()
        begun_s = self._monotonic()
        for partition in partitions:
            server = self._writer.server_of(partition)
            if server in failed:  # it would take a second for each of its partitions
                continue
            try:
                reached[partition] = write(partition)
                self._is_ours = True
            except RedisError as error:
                failed.add(server)
                self._note_silence(error, begun_s)
        return reached

    def _ask_silent(self, positions: Mapping[int, FeedPosition]) -> None:
        """Send those that are silent their heartbeat, when it is time to: behind all that answer."""
        if not self._is_any_silent or self._monotonic() < self._ask_silent_at_s:
            return
        reached = self._reach(sorted(self._silent), self._appending(positions, {}))
        self._silent = self._silent.difference(reached)
        if self._are_documents_silent:
            self._try_documents()

    @property
    def _is_any_silent(self) -> bool:
        return bool(self._silent) or self._are_documents_silent

    def _note_silence(self, error: RedisError, begun_s: float) -> None:
        self._silence = error
        now = self._monotonic()
        self._ask_silent_at_s = now + max(_RETRY_S, _SILENT_PAUSES * (now - begun_s))

    def _wait_for_documents(self, asked: int) -> bool:
        """Wake the thread, and tell whether it put key set and gate list as they were asked for then."""
        self._woken.set()
        self._progress.wait_for(
            lambda: self._documents_put >= asked or self._trouble is not None, PUBLICATION_WAIT_S
        )
        return self._documents_put >= asked

    def _is_document_asked(self) -> bool:
        return self._documents_asked != self._documents_put

    def _try_documents(self, *, is_anew: bool = False) -> None:
        begun_s = self._monotonic()
        try:
            self._put_documents(is_anew=is_anew)
        except RedisError as error:
            self._are_documents_silent = True
            self._note_silence(error, begun_s)
        else:
            self._are_documents_silent = False

    def _try_documents_alone(self) -> None:
        """Put them though no partition answers: the node of a Cluster that holds them may be another."""
        if self._writer.has_one_server or not self._is_ours:
            return
        silence = self._silence
        self._try_documents()
        self._are_documents_silent, self._silence = False, silence

    def _put_documents(self, *, is_anew: bool) -> None:
        with self._progress:
            asked, gate_list = self._documents_asked, self._gate_list
        # In this order: nobody takes a gate list before the key set with its signer.
        self._writer.put_key_set(self._keys.newest_key_set())
        if gate_list is not None:
            put_gate_list = self._writer.write_gate_list if is_anew else self._writer.put_gate_list
            put_gate_list(gate_list)
        with self._progress:
            self._documents_put = asked
            self._progress.notify_all()

    def _rebuild(self, reason: str) -> None:
        # Two publishers would rebuild in turns for ever: the one that does not serve the register is silent.
        self._outbox.require_ours()
        if reason != self._mismatch:
            _log.warning("rebuild of Redis begins", reason=reason)
            self._mismatch = reason
        begun_s = self._monotonic()
        with self._progress:
            self._is_rebuilding = True
        try:
            last_seq, progress = self._rebuild_without_epoch()
        finally:
            with self._progress:
                self._is_rebuilding = False
        if not progress.is_done:
            return
        self._mismatch = None
        if self._silent:
            self._ahead_seq = max(self._ahead_seq, last_seq)
        else:
            self._tell_published(last_seq)
        if not self._is_any_silent:
            self._note_heartbeat()
        seconds = round(self._monotonic() - begun_s, 3)
        _log.info("rebuild of Redis done", records=progress.records, seconds=seconds)
        if self._silent:
            self._fail_job(self._silence)
        elif job := self._take_job():
            job.was_rebuilt(progress, reason=reason)

    def _rebuild_without_epoch(self) -> tuple[int, Progress]:
        """Return the seq of the last row that is covered, and the progress: not done when told to stop."""
        last_seq = self._outbox.last_seq()  # before a record is read
        partitions = range(self._writer.partitions)
        before = self._positions or {}
        begun = self._write(partitions, self._writer.begin_partition)
        silent = self._silent
        # Of another number of partitions it would be the position of others.
        known = before if len(before) == len(partitions) else {}
        left = {partition: known.get(partition, _NOT_WRITTEN) for partition in silent}
        self._try_documents(is_anew=True)
        cache = replace(
            self._cache,
            fences=lambda: begun,
            adopt=lambda positions: self._settle(last_seq, {**left, **positions}, without=silent),
        )
        progress = Progress()
        for latest in rebuild_status(cache):
            progress = latest
            # Verifiers follow them, whether there is an epoch or not.
            if self._is_document_asked() and not self._are_documents_silent:
                self._try_documents()
            if self._stopping.is_set():
                break
        return last_seq, progress

    def _advance_job(self) -> bool:
        """Make a step of the job; tell whether there is one."""
        job = self._job
        if job is None:
            return False
        progress = job.advance()
        if progress is None or progress.is_done:
            self._take_job()  # before the caller hears of it: it may ask for the next one
        if progress is not None:
            job.tell(progress)
        return True

    def _fail_job(self, error: Exception) -> None:
        if job := self._take_job():
            job.fail(error)

    def _take_job(self) -> CacheJob | None:
        with self._progress:
            job, self._job = self._job, None
        return job

    def _tell_published(self, last_seq: int) -> None:
        with self._progress:
            self._published_seq = max(self._published_seq, last_seq)
            self._progress.notify_all()

    def _settle(
        self, last_seq: int, positions: Mapping[int, FeedPosition], *, without: Collection[int] = ()
    ) -> None:
        self._outbox.settle(last_seq, positions, without=without)
        # Not before: where the register could not note it, Redis has to look wrong to us after a rebuild,
        # or a restart would find another epoch than we go on with.
        self._positions = positions

    def _count_backlog(self) -> None:
        if self._monotonic() >= self._next_count_s:
            rows = self._outbox.backlog()
            OUTBOX_ROWS.set(rows)
            self._note_waiting(rows)
            self._next_count_s = self._monotonic() + _COUNT_S

    def _note_waiting(self, rows: int) -> None:
        # One row stands for all, until it is in Redis: on a busy day there is always one that waits.
        if self._waiting is not None and (not rows or self._published_seq >= self._waiting[0]):
            self._waiting = None
        if rows and self._waiting is None:
            self._waiting = self._outbox.last_seq(), self._monotonic()

    def _unpublished_s(self) -> float:
        waiting = self._waiting
        is_published = waiting is None or self._published_seq >= waiting[0]
        return 0.0 if waiting is None or is_published else self._monotonic() - waiting[1]

    def _note_heartbeat(self) -> None:
        self._heartbeat_at_s = self._monotonic()
        self._next_heartbeat_s = self._heartbeat_at_s + HEARTBEAT_S

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                is_more_waiting = self.turn()
            except Exception as error:  # noqa: BLE001 - a dead thread would keep every change from the gates
                self._report(error)
                # Changes of what answers do not wait for what is silent.
                is_any_reached = error is self._silence and self._is_any_silent
                (self._woken if is_any_reached else self._stopping).wait(_RETRY_S)
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


def _by_partition(
    updates: Sequence[tuple[int, int]], partitions: int
) -> Mapping[int, Sequence[tuple[int, int]]]:
    """Return the updates of the partitions that have any, in the same order."""
    if partitions == 1:
        return {0: updates} if updates else {}
    apart: dict[int, list[tuple[int, int]]] = {}
    for index, record in updates:
        apart.setdefault(partition_of(shard_of(index), partitions), []).append((index, record))
    return apart


def _describe(error: Exception) -> str:
    # A lost connection names the address. Other errors of Redis may quote what was sent, and a fault of
    # ours anything: their type says enough.
    is_telling = isinstance(error, IssuerError | RedisConnectionError)
    return f"{type(error).__name__}: {error}" if is_telling else type(error).__name__
