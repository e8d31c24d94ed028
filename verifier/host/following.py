"""What the supervisor does for all workers, in loops: it keeps key set, gate list and mirror current, and
ships the scan log.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import redis
import structlog

from verifier.access.gate_list_follower import REFRESH_S as GATE_LIST_REFRESH_S
from verifier.access.gate_list_follower import GateListFollower
from verifier.access.gate_lists import GateLists
from verifier.boot_clock import boot_time_s
from verifier.errors import NotReady, SettingsError
from verifier.host.clock_witness import RedisWitness, has_own_clock
from verifier.host.kept_state import GATE_LIST, KEY_SETS, KeptState, NotKept
from verifier.host.key_set_document import pack, unpack
from verifier.host.metrics import Count, Gauge
from verifier.host.shared import SharedMemory
from verifier.host.shared_mirror import SharedMirror, SharedPartition
from verifier.host.steady_clock import ClockKeeper, SteadyClock
from verifier.journal.segments import try_to_write
from verifier.journal.shipper import Shipper
from verifier.key_set_follower import REFRESH_S as KEY_SET_REFRESH_S
from verifier.key_set_follower import KeySetFollower, KeySets
from verifier.loop import Loop
from verifier.mirror_follower import MirrorFollower
from verifier.status_reader import StatusReader
from verifier.tracing import Tracing
from verifier.trouble import Part, PartHealth, Trouble, is_disk_full
from verifier.wire.cose import key_id
from verifier.wire.ed25519 import VerifyingKey
from verifier.wire.errors import GateListError, KeySetError
from verifier.wire.status_store import feed_key

# Short enough to be back soon, long enough not to burden a Redis that is just starting.
_MIRROR_RETRY_S = 0.2
# Half a second of scans is what a power cut may take.
_SHIP_S = 0.5
# What fails raises long before. A first load of a large mirror from a slow Redis takes its time.
_LONGEST_LOOK_S = 15.0
_LONGEST_MIRROR_STEP_S = 30.0
_LONGEST_DISK_STEP_S = 60.0
# 200 MB from a disk that is slow, but not one that hangs: without Redis no gate opens before.
_LONGEST_READ_S = 15.0
# The last half second of scans and the turn under way. The scan log is on the disk in any case.
_LAST_SHIP_S = 6.0
# 200 MB to any disk that is well. What was saved minutes before is there in any case.
_LAST_SAVE_S = 8.0
# An entry of the feed that was refused is gone in a moment: as long as one looks at metrics, and once more.
_REFUSED_IS_TOLD_S = 15.0
_STEP = "By how much the machine's clock leapt from the time that verdicts are given by; 0: it did not."
_FOLLOWED = "By how much it leapt when verdicts followed it, since it did not come back; for an hour."
_AHEAD = "By how much that time is ahead of Redis's clock."

_log = structlog.get_logger("verifier")


class Following:
    """The loops, and what they know."""

    def __init__(
        self,
        shared: SharedMemory,
        *,
        root: VerifyingKey,
        redis_url: str,
        journal: Path | None,
        state: Path | None = None,
        state_max_age_s: float = 0.0,
        is_state_asked_for: bool = False,
        is_gate_list_needed: bool = False,
        tracing: Tracing | None = None,
    ) -> None:
        """Write into `shared`; without `journal` nothing is shipped, without `state` nothing is kept.

        A kept mirror is used while its status is no older than `state_max_age_s`. A folder that cannot be
        used stops the start only where somebody named it: `is_state_asked_for`. Where gates show who they
        are, `is_gate_list_needed`. Raises SettingsError.
        """
        self._shared = shared
        self._tracing = tracing
        self._journal = journal
        self._state = state
        self._state_max_age_s = state_max_age_s
        self._is_state_asked_for = is_state_asked_for
        self._clock = SteadyClock(shared.clock_lead)
        self._kept: KeptState | None = None
        if state is not None:
            self._kept = KeptState(state, shared, root_key_id=key_id(root.public_key), clock=self._clock)
        self._clock_keeper = ClockKeeper(
            shared.clock_lead, wall=time.time, before_leap=None if self._kept is None else self._kept.correct
        )
        self._mirror = SharedMirror(shared, monotonic=boot_time_s)
        self._key_sets = KeySets(root)
        self._gate_lists = GateLists()
        try:
            self._shipper = Shipper(journal, redis_url=redis_url) if journal is not None else None
            self._key_set_looking = self._key_set_loop(redis_url)
            self._gate_list_looking = self._gate_list_loop(redis_url, is_needed=is_gate_list_needed)
            self._mirrors = [
                self._mirror_loop(redis_url, number, root) for number in range(shared.layout.partitions)
            ]
            self._loops = [self._key_set_looking, self._gate_list_looking]
            self._loops += [loop for loop, _ in self._mirrors]
        except ValueError as error:
            raise SettingsError(f"--redis-url: {error}") from None
        self._loops.append(self._clock_loop(redis_url))
        self._keeping: Loop | None = None
        if self._kept is not None:
            self._keeping = Loop(
                self._kept.step,
                name=Part.KEPT_STATE,
                pause_s=1.0,
                retry_s=1.0,
                longest_step_s=_LONGEST_DISK_STEP_S,
            )
            self._loops.append(self._keeping)
        self._shipping: Loop | None = None
        if self._shipper is not None:
            shipper = self._shipper
            self._shipping = Loop(
                self._told("scan log shipping", shipper.step, done=lambda: shipper.shipped_batches),
                name=Part.SCAN_LOG,
                pause_s=_SHIP_S,
                retry_s=1.0,
                longest_step_s=_LONGEST_DISK_STEP_S,
            )
            self._loops.append(self._shipping)

    def start(self) -> None:
        """Begin; raises SettingsError for a folder that cannot be written, or is another verifier's."""
        self._take_journal()
        self._take_state()
        for loop in self._loops:
            loop.start()

    def finish(self) -> None:
        """Ship what the workers wrote at the end, in 6 s, then keep what is known, in 8 s.

        Nobody waits for the other loops: they only read Redis. Where Redis fails, the scan log lies on the
        disk until the next start. What takes longer goes on in a thread that ends with the process.
        """
        self._ship_the_rest()
        self._keep_the_rest()
        for loop in self._loops:
            loop.stop(0)

    def _ship_the_rest(self) -> None:
        shipper, shipping = self._shipper, self._shipping
        if shipper is None or shipping is None:
            return

        def ship() -> bool:
            if not shipping.stop():  # it is shipping still
                return False
            self._ship_once(shipper)
            return True

        if not _in_time(ship, name="scan log, at the end", timeout_s=_LAST_SHIP_S):
            _log.warning(
                "shipping takes too long: what is not shipped of the scan log waits on the disk",
                folder=str(self._journal),
            )

    def _ship_once(self, shipper: Shipper) -> None:
        try:
            shipper.step()
        except redis.RedisError as error:
            if shipper.waiting_bytes:
                _log.warning(
                    "scan log is not all shipped: it waits on the disk",
                    folder=str(self._journal),
                    trouble=type(error).__name__,
                )
        except OSError as error:
            _log.error("scan log is not shipped: its folder cannot be used", trouble=str(error))
        shipper.close()

    def _keep_the_rest(self) -> None:
        kept, keeping = self._kept, self._keeping
        if kept is None or keeping is None:
            return

        def save() -> bool:
            if not keeping.stop():  # it is writing still
                return False
            kept.save()
            return True

        # Files are moved into place whole, so nothing is lost by a process that ends meanwhile.
        if not _in_time(save, name="kept state, at the end", timeout_s=_LAST_SAVE_S):
            _log.warning("state is not kept at the end: the disk takes too long", folder=str(self._state))

    def health(self) -> dict[Part, list[PartHealth]]:
        """Return how the parts are that run here."""
        found = {
            Part.KEY_SET: [self._key_set_looking.health()],
            Part.GATE_LIST: [self._gate_list_looking.health()],
            Part.MIRROR: [self._mirror_health(loop, follower) for loop, follower in self._mirrors],
        }
        if self._keeping is not None:
            found[Part.KEPT_STATE] = [self._keeping.health()]
        if self._shipping is not None:
            found[Part.SCAN_LOG] = [self._shipping.health()]
        return found

    def gauges(self) -> list[Gauge | Count]:
        """Return what is known, for metrics."""
        followers = [follower for _, follower in self._mirrors]
        gauges: list[Gauge | Count] = [
            Gauge("key_set_left_seconds", "Until the key set in force ends.", self._key_set_left_s),
            Gauge(
                "key_set_starts_in_seconds",
                "Until a key set is in force; 0: one is, or was.",
                self._key_set_starts_in_s,
            ),
            Gauge("gate_list_left_seconds", "Until the gate list ends.", self._gate_list_left_s),
            Gauge(
                "feed_lag_seconds",
                "How far the mirror is behind the feed, by Redis's clock; 0: it has all that Redis gave.",
                lambda: max(follower.lag_s for follower in followers),
            ),
            Gauge(
                "redis_reply_seconds",
                "How long the last look at the key set took, or has taken so far.",
                lambda: self._key_set_looking.step_s,
            ),
            Count("mirror_loads", "Mirrors loaded whole.", lambda: sum(one.loads for one in followers)),
            Count(
                "feed_gaps",
                "Times that the feed went on without us, being trimmed or cut.",
                lambda: sum(one.gaps for one in followers),
            ),
            Count(
                "feed_refused",
                "Entries of the feed that were not our issuer's, or made no sense.",
                lambda: sum(one.refused_entries for one in followers),
            ),
            Count("key_sets_refused", "Key sets not taken.", lambda: self._key_sets.refused),
            Gauge("status_age_seconds", "Age of the status mirror.", self._mirror.status_age_s),
            Gauge("mirror_bytes", "Memory that mirror and documents take.", self._shared.used_bytes),
            Gauge("key_set_version", "Version of the key set; 0: none.", lambda: self._key_sets.version),
            Gauge("gate_list_version", "Version of the gate list; 0: none.", self._gate_list_version),
            Gauge("clock_step_seconds", _STEP, lambda: self._clock_keeper.step_s),
            Gauge("clock_followed_seconds", _FOLLOWED, lambda: self._clock_keeper.followed_s),
            Gauge("clock_redis_seconds", _AHEAD, lambda: self._clock_keeper.witness_difference_s),
        ]
        kept = self._kept
        if kept is not None:
            gauges.append(
                Gauge(
                    "kept_state_age_seconds", "Age of the status in the mirror on disk.", lambda: kept.age_s
                )
            )
        shipper = self._shipper
        if shipper is not None:
            gauges += [
                Count(
                    "scan_batches_shipped",
                    "Batches of the scan log given to Redis.",
                    lambda: shipper.shipped_batches,
                ),
                Count(
                    "journal_damaged_bytes",
                    "Scan log passed over, being damaged.",
                    lambda: shipper.damaged_bytes,
                ),
                Gauge(
                    "journal_waiting_bytes",
                    "Scan log on the disk that is not in the archive.",
                    lambda: shipper.waiting_bytes,
                ),
                Gauge(
                    "journal_unshipped_seconds",
                    "How long ago all of the scan log had been shipped.",
                    lambda: shipper.oldest_unshipped_age_s,
                ),
                Gauge(
                    "journal_unarchived_seconds",
                    "How long the oldest of the scan log waits that is not in the archive.",
                    lambda: shipper.oldest_unarchived_age_s,
                ),
            ]
        return gauges

    def _take_journal(self) -> None:
        # Later no trouble with the disk stops a verdict. Now somebody is there to mend it.
        if self._shipper is None or self._journal is None:
            return
        try:
            if not self._shipper.take_folder():
                raise SettingsError(
                    f"--journal: {self._journal} is in use by another verifier: give each its own"
                )
            try_to_write(self._journal)
        except OSError as error:
            if is_disk_full(error):  # as it may have been when the machine went down
                _log.error("scan log cannot be written, verdicts go on", folder=str(self._journal))
                return
            self._shipper.close()
            raise SettingsError(
                f"--journal: cannot write in {self._journal}: {error.strerror}; "
                "name another folder, or say --no-journal"
            ) from None

    def _take_state(self) -> None:
        """Begin with what an earlier run kept; what Redis holds is newer, and replaces it."""
        kept, state = self._kept, self._state
        if kept is None or state is None or not self._open_state(kept, state):
            return
        for signed in unpack(kept.kept(KEY_SETS)):
            with contextlib.suppress(KeySetError):
                self._key_sets.offer(signed)
        if self._key_sets.signed:
            self._shared.key_sets.write(pack(self._key_sets.signed))
        self._take_gate_list(kept.kept(GATE_LIST))
        try:
            age_s = kept.load_mirror(max_age_s=self._state_max_age_s)
        except NotKept as error:
            _log.info("no mirror from the disk", why=str(error))
        else:
            _log.info("mirror from the disk, until Redis answers", status_age_s=round(age_s, 3))

    def _open_state(self, kept: KeptState, state: Path) -> bool:
        """Return whether what was kept can be read; raises SettingsError."""
        failed: list[OSError] = []

        def look() -> bool:
            try:
                kept.make_folder()
                try_to_write(state)
            except OSError as error:
                failed.append(error)
            kept.read_through()
            return True

        # Takes nothing: who comes to its end late must not change what others have taken meanwhile.
        if not _in_time(look, name="kept state, at the start", timeout_s=_LONGEST_READ_S):
            _log.error("no state from the disk: the disk takes too long", folder=str(state))
            return False
        for error in failed:
            # As for the scan log; and where nobody asked for it, a start is worth more.
            if not is_disk_full(error) and self._is_state_asked_for:
                raise SettingsError(
                    f"--state: cannot write in {state}: {error.strerror}; "
                    "name another folder, or say --no-state"
                )
            _log.warning("state cannot be kept on the disk", folder=str(state), trouble=error.strerror)
        return True

    def _take_gate_list(self, signed: bytes) -> None:
        # Whose keys are no longer in force is believed by nobody, until Redis has a newer key set.
        with contextlib.suppress(NotReady, GateListError):
            keys = self._key_sets.in_force(int(self._clock())).keys
            if signed and self._gate_lists.offer(signed, keys):
                self._shared.gate_list.write(signed)

    def _publish_key_sets(self, signed_sets: Sequence[bytes]) -> None:
        document = pack(signed_sets)
        self._shared.key_sets.write(document)
        if self._kept is not None:
            self._kept.keep(KEY_SETS)
        # Its signer may be known only now.
        self._gate_list_looking.wake()

    def _publish_gate_list(self, signed: bytes) -> None:
        self._shared.gate_list.write(signed)
        if self._kept is not None:
            self._kept.keep(GATE_LIST)

    def _key_set_left_s(self) -> float | None:
        expires_at = self._key_sets.expires_at(int(self._clock()))
        return None if expires_at is None else expires_at - self._clock()

    def _key_set_starts_in_s(self) -> float | None:
        starts_at = self._key_sets.starts_at(int(self._clock()))
        if starts_at is None:
            return 0.0 if self._key_sets.version else None
        return max(0.0, starts_at - self._clock())

    def _gate_list_left_s(self) -> float | None:
        newest = self._gate_lists.newest
        return None if newest is None else newest.expires_at - self._clock()

    def _mirror_health(self, loop: Loop, follower: MirrorFollower) -> PartHealth:
        health, refused_at_s = loop.health(), follower.refused_at_s
        if health.trouble is None and refused_at_s is not None:
            ago_s = boot_time_s() - refused_at_s
            if ago_s < _REFUSED_IS_TOLD_S:
                return PartHealth(Trouble.NOT_STATUS, max(0.001, ago_s))
        return health

    def _gate_list_version(self) -> int:
        newest = self._gate_lists.newest
        return 0 if newest is None else newest.version

    def _clock_loop(self, redis_url: str) -> Loop:
        keeper = self._clock_keeper
        witness: RedisWitness | None = None
        if has_own_clock(redis_url):
            witness = RedisWitness(redis_url, key=feed_key(0), hear=keeper.hear)

        def step() -> None:
            keeper.look()
            if witness is not None:
                witness.ask()

        return Loop(step, name="clock", pause_s=1.0, retry_s=1.0)

    def _told(self, name: str, step: Callable[[], None], *, done: Callable[[], int]) -> Callable[[], None]:
        return step if self._tracing is None else self._tracing.step(name, step, done=done)

    def _key_set_loop(self, redis_url: str) -> Loop:
        follower = KeySetFollower(
            redis_url=redis_url,
            key_sets=self._key_sets,
            publish=self._publish_key_sets,
            clock=self._clock,
        )
        pause_s = KEY_SET_REFRESH_S
        return Loop(
            self._told("key set refresh", follower.refresh, done=lambda: self._key_sets.version),
            name=Part.KEY_SET,
            pause_s=pause_s,
            retry_s=pause_s,
            longest_step_s=_LONGEST_LOOK_S,
        )

    def _gate_list_loop(self, redis_url: str, *, is_needed: bool) -> Loop:
        follower = GateListFollower(
            redis_url=redis_url,
            gate_lists=self._gate_lists,
            key_sets=self._key_sets,
            publish=self._publish_gate_list,
            is_needed=is_needed,
            clock=self._clock,
        )
        pause_s = GATE_LIST_REFRESH_S
        return Loop(
            self._told("gate list refresh", follower.refresh, done=self._gate_list_version),
            name=Part.GATE_LIST,
            pause_s=pause_s,
            retry_s=pause_s,
            longest_step_s=_LONGEST_LOOK_S,
        )

    def _mirror_loop(self, redis_url: str, number: int, root: VerifyingKey) -> tuple[Loop, MirrorFollower]:
        reader = StatusReader(
            redis_url,
            root_key_id=key_id(root.public_key),
            partition=number,
            partitions=self._shared.layout.partitions,
            monotonic=boot_time_s,
        )
        partition = SharedPartition(self._shared, number, monotonic=time.monotonic)
        follower = MirrorFollower(
            reader=reader, mirror=partition, monotonic=boot_time_s, new_table=partition.new_table
        )
        # A step waits for the feed itself, so it needs no pause.
        step = partial(_follow, follower, partition, self._kept)
        loop = Loop(
            self._told("mirror load", step, done=lambda: follower.loads),
            name=Part.MIRROR,
            pause_s=0,
            retry_s=_MIRROR_RETRY_S,
            longest_step_s=_LONGEST_MIRROR_STEP_S,
        )
        return loop, follower


def _in_time(work: Callable[[], bool], *, name: str, timeout_s: float) -> bool:
    """Do `work` in a thread that the process does not wait for; tell whether it was done within the time."""
    done: list[bool] = []
    thread = threading.Thread(target=lambda: done.append(work()), name=name, daemon=True)
    thread.start()
    thread.join(timeout_s)
    return done == [True]


def _follow(follower: MirrorFollower, partition: SharedPartition, kept: KeptState | None) -> None:
    # In the follower's own thread, so that no half is freed while it is being loaded.
    partition.free_old_half()
    if kept is not None and kept.is_refused:
        partition.drop_what_was_there()
    follower.step()
