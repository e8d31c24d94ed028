"""What a verifier knew is there again after a restart, with its true age, or it is not there at all."""

import shutil
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from loadtest.embedded_redis import EmbeddedRedis
from tests.eventually import eventually
from tests.signer import Signer
from tests.verifier.engines.serving import TIMEOUT_S, publish, serving, stub
from verifier.errors import NotReady
from verifier.host.kept_state import GATE_LIST, KEY_SETS, MIRROR, KeptState, NotKept
from verifier.host.shared import SharedMemory
from verifier.host.shared_mirror import SharedMirror, SharedPartition
from verifier.v1 import verifier_pb2 as pb
from verifier.wire.status_store import KEY_SET_KEY, RECORDS_PER_SHARD, SHARD_BYTES

_DAY_S = 86_400.0
_ROOT = bytes(8)
_CAPACITY = 5 * RECORDS_PER_SHARD + 100


class Clock:
    """Two clocks that go together."""

    def __init__(self, unix_s: float = 1_800_000_000.0) -> None:
        self.unix_s = unix_s
        self.boot_s = 1_000.0

    def go_on(self, seconds: float) -> None:
        self.unix_s += seconds
        self.boot_s += seconds


def memory(partitions: int = 1) -> SharedMemory:
    return SharedMemory.create(partitions=partitions, capacity=_CAPACITY, rows=1)


def kept(folder: Path, shared: SharedMemory, clock: Clock, root_key_id: bytes = _ROOT) -> KeptState:
    state = KeptState(
        folder,
        shared,
        root_key_id=root_key_id,
        clock=lambda: clock.unix_s,
        monotonic=lambda: clock.boot_s,
    )
    state.make_folder()
    return state


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def follow(shared: SharedMemory, records: dict[int, int], current_at_s: float) -> None:
    """Load every partition, as its follower does."""
    for number in range(shared.layout.partitions):
        partition = SharedPartition(shared, number, monotonic=lambda: 0.0)
        table = partition.new_table()
        step = shared.layout.partitions
        table.apply(
            [(index, bits) for index, bits in records.items() if index // RECORDS_PER_SHARD % step == number]
        )
        partition.swap_in(table, current_at_s)


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_mirror_comes_back_with_the_age_of_its_status(tmp_path: Path, partitions: int) -> None:
    clock, shared = Clock(), memory(partitions)
    records = {0: 7, RECORDS_PER_SHARD - 1: 8, 3 * RECORDS_PER_SHARD + 5: 9, _CAPACITY - 1: 10}
    follow(shared, records, clock.boot_s - 4)
    kept(tmp_path, shared, clock).save_mirror()
    clock.go_on(100)
    clock.boot_s = 12.0  # the machine was started anew
    again = memory(partitions)
    assert kept(tmp_path, again, clock).load_mirror(max_age_s=_DAY_S) == pytest.approx(104)
    mirror = SharedMirror(again, monotonic=lambda: clock.boot_s)
    for index, bits in records.items():
        assert mirror.look_up(index)[0] == bits
    assert mirror.look_up(0)[1] == pytest.approx(104)
    assert mirror.look_up(1)[0] == 0


def started_with_a_slow_clock(
    folder: Path, *, slow_s: float, max_age_s: float, partitions: int = 1
) -> tuple[KeptState, SharedMemory, Clock]:
    """Save, wait for `slow_s` without power or Redis, start with the clock of then, and let 20 s pass."""
    clock, shared = Clock(), memory(partitions)
    follow(shared, {1: 7}, clock.boot_s)
    kept(folder, shared, clock).save_mirror()
    clock.go_on(slow_s)
    clock.boot_s = 5.0
    clock.unix_s -= slow_s
    again = memory(partitions)
    state = kept(folder, again, clock)
    state.load_mirror(max_age_s=max_age_s)
    clock.go_on(20)
    return state, again, clock


def set_right(state: KeptState, clock: Clock, step_s: float) -> None:
    state.correct(step_s)
    clock.unix_s += step_s


def test_a_clock_that_is_set_right_after_the_start_gives_what_was_loaded_its_true_age(tmp_path: Path) -> None:
    state, shared, clock = started_with_a_slow_clock(tmp_path, slow_s=_DAY_S, max_age_s=2 * _DAY_S)
    mirror = SharedMirror(shared, monotonic=lambda: clock.boot_s)
    assert mirror.look_up(1)[1] == pytest.approx(20)
    set_right(state, clock, _DAY_S)
    assert mirror.look_up(1)[0] == 7
    assert mirror.look_up(1)[1] == pytest.approx(_DAY_S + 20)
    assert state.age_s == pytest.approx(_DAY_S + 20)
    assert not state.is_refused
    set_right(state, clock, -3_600.0)
    assert mirror.status_age_s() == pytest.approx(_DAY_S - 3_600 + 20)


@pytest.mark.parametrize(
    ("step_s", "is_refused"),
    [(3_600.0, False), (3_601.0, True), (-1.0, False), (-2.0, True)],
)
def test_what_a_right_clock_would_have_refused_is_dropped_when_the_clock_is_set_right(
    tmp_path: Path, step_s: float, is_refused: bool
) -> None:
    state, shared, clock = started_with_a_slow_clock(tmp_path, slow_s=_DAY_S, max_age_s=3_600.0)
    partition = SharedPartition(shared, 0, monotonic=lambda: 0.0)
    set_right(state, clock, step_s)
    assert state.is_refused == is_refused
    if is_refused:
        partition.drop_what_was_there()
        with pytest.raises(NotReady):
            SharedMirror(shared, monotonic=lambda: clock.boot_s).look_up(1)


def test_what_was_loaded_does_not_grow_too_old_by_time_alone(tmp_path: Path) -> None:
    state, shared, clock = started_with_a_slow_clock(tmp_path, slow_s=10.0, max_age_s=60.0)
    clock.go_on(_DAY_S)
    set_right(state, clock, 10.0)
    assert not state.is_refused
    assert SharedMirror(shared, monotonic=lambda: clock.boot_s).status_age_s() == pytest.approx(_DAY_S + 30)


def test_what_redis_has_confirmed_keeps_its_age_and_is_not_dropped(tmp_path: Path) -> None:
    state, shared, clock = started_with_a_slow_clock(tmp_path, slow_s=_DAY_S, max_age_s=60.0, partitions=2)
    partitions = [SharedPartition(shared, number, monotonic=lambda: 0.0) for number in (0, 1)]
    partitions[1].swap_in(partitions[1].new_table(), clock.boot_s)
    set_right(state, clock, _DAY_S)
    assert list(shared.current_at_s) == pytest.approx([5 - _DAY_S, clock.boot_s])
    for partition in partitions:
        partition.drop_what_was_there()
    assert list(shared.generations) == [0, 2]
    partitions[0].swap_in(partitions[0].new_table(), clock.boot_s)
    partitions[0].drop_what_was_there()
    set_right(state, clock, _DAY_S)
    assert list(shared.generations) == [1, 2]
    assert list(shared.current_at_s) == [clock.boot_s, clock.boot_s]


def test_what_was_loaded_is_saved_again_with_the_moment_that_it_came_with(tmp_path: Path) -> None:
    state, _, clock = started_with_a_slow_clock(tmp_path, slow_s=_DAY_S, max_age_s=2 * _DAY_S)
    (tmp_path / MIRROR).unlink()
    clock.unix_s += _DAY_S  # followed, while nobody was told of it yet
    state.save_mirror()
    age_s = kept(tmp_path, memory(), clock).load_mirror(max_age_s=2 * _DAY_S)
    assert age_s == pytest.approx(_DAY_S + 20)


def test_what_is_newer_in_redis_replaces_it(tmp_path: Path) -> None:
    clock, shared = Clock(), memory()
    follow(shared, {1: 7, 2: 7}, clock.boot_s)
    kept(tmp_path, shared, clock).save_mirror()
    again = memory()
    kept(tmp_path, again, clock).load_mirror(max_age_s=_DAY_S)
    follow(again, {1: 8}, clock.boot_s)
    mirror = SharedMirror(again, monotonic=lambda: clock.boot_s)
    assert (mirror.look_up(1)[0], mirror.look_up(2)[0]) == (8, 0)


def test_saving_takes_no_memory_for_shards_that_nobody_has(tmp_path: Path) -> None:
    shared = memory()
    follow(shared, {1: 7}, 1_000.0)
    before = shared.used_bytes()
    kept(tmp_path, shared, Clock()).save_mirror()
    assert shared.used_bytes() <= before + SHARD_BYTES
    assert (tmp_path / MIRROR).stat().st_size < SHARD_BYTES + 1_000


def test_the_folder_and_what_lies_in_it_are_for_the_owner_alone(tmp_path: Path) -> None:
    shared = memory()
    follow(shared, {1: 7}, 1_000.0)
    shared.key_sets.write(b"signed")
    kept(tmp_path / "state", shared, Clock()).save()
    assert names(tmp_path / "state") == [KEY_SETS, MIRROR]
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "state").iterdir()} == {0o600}


def test_a_mirror_is_saved_when_it_is_loaded_and_then_every_five_minutes_if_it_is_newer(
    tmp_path: Path,
) -> None:
    clock, shared = Clock(), memory()
    state, path = kept(tmp_path, shared, clock), tmp_path / MIRROR
    state.step()
    assert not path.exists()
    follow(shared, {1: 7}, clock.boot_s)
    state.step()
    first = path.stat().st_mtime_ns
    shared.current_at_s[0] = clock.boot_s + 1
    clock.go_on(299)
    state.step()
    assert path.stat().st_mtime_ns == first
    clock.go_on(1)
    state.step()
    second = path.stat().st_mtime_ns
    assert second != first
    clock.go_on(300)
    state.step()  # Redis is away: nothing is newer
    assert path.stat().st_mtime_ns == second


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [(_DAY_S + 1, "is 86401 s old, and at most 86400"), (-5.0, "from the future")],
)
def test_a_mirror_too_old_or_from_the_future_is_not_used(tmp_path: Path, seconds: float, reason: str) -> None:
    clock, shared = Clock(), memory()
    follow(shared, {1: 7}, clock.boot_s)
    kept(tmp_path, shared, clock).save_mirror()
    clock.unix_s += seconds
    again = memory()
    with pytest.raises(NotKept, match=reason):
        kept(tmp_path, again, clock).load_mirror(max_age_s=_DAY_S)
    assert not any(again.generations)


def test_a_mirror_of_another_issuer_or_with_other_partitions_is_not_used(tmp_path: Path) -> None:
    clock, shared = Clock(), memory()
    follow(shared, {1: 7}, clock.boot_s)
    kept(tmp_path, shared, clock).save_mirror()
    with pytest.raises(NotKept, match="another root key"):
        kept(tmp_path, memory(), clock, root_key_id=b"stranger").load_mirror(max_age_s=_DAY_S)
    with pytest.raises(NotKept, match="1 partitions"):
        kept(tmp_path, memory(2), clock).load_mirror(max_age_s=_DAY_S)


@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_a_damaged_mirror_is_not_used(
    tmp_path_factory: pytest.TempPathFactory, where: float, bit: int, cut: bool
) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged"
    clock, shared = Clock(), SharedMemory.create(partitions=1, capacity=64, rows=1)
    follow(shared, {1: 7, 63: 9}, clock.boot_s)
    kept(folder, shared, clock).save_mirror()
    content = bytearray((folder / MIRROR).read_bytes())
    at = int(where * len(content))
    content[at] ^= 1 << bit
    (folder / MIRROR).write_bytes(content[:at] if cut else content)
    again = SharedMemory.create(partitions=1, capacity=64, rows=1)
    with pytest.raises(NotKept):
        kept(folder, again, clock).load_mirror(max_age_s=_DAY_S)
    assert not any(again.generations)


def test_a_folder_that_cannot_be_written_stops_nothing_and_is_told_of_until_all_is_in_it(
    tmp_path: Path,
) -> None:
    clock, shared, folder = Clock(), memory(), tmp_path / "state"
    state = kept(folder, shared, clock)
    folder.rmdir()
    folder.touch()
    follow(shared, {1: 7}, clock.boot_s)
    shared.gate_list.write(b"signed")
    state.save()
    for _ in range(3):
        with pytest.raises(OSError, match="File exists"):
            state.step()
        clock.go_on(1)
    assert state.kept(GATE_LIST) == b""
    folder.unlink()
    state.step()
    assert state.kept(GATE_LIST) == b"signed"
    assert kept(folder, memory(), clock).load_mirror(max_age_s=_DAY_S) == pytest.approx(3)


def test_the_folder_that_it_lies_in_is_not_made_anew(tmp_path: Path) -> None:
    clock, shared, journal = Clock(), memory(), tmp_path / "journal"
    state = kept(journal / "state", shared, clock)
    follow(shared, {1: 7}, clock.boot_s)
    state.step()
    journal.rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError):
        state.step()
    assert not journal.exists()
    journal.mkdir()
    state.step()
    assert names(journal / "state") == [MIRROR]


def full_disk(monkeypatch: pytest.MonkeyPatch, free_bytes: int) -> None:
    """Let every disk say that so much is free on it."""
    told = SimpleNamespace(f_blocks=1 << 20, f_bavail=free_bytes, f_frsize=1)
    monkeypatch.setattr("verifier.host.kept_state.os.statvfs", lambda _: told)


def test_a_mirror_is_not_written_where_the_scan_log_needs_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, shared, needed = Clock(), memory(), 2 * SHARD_BYTES + (64 << 20)
    follow(shared, {1: 7, RECORDS_PER_SHARD: 8}, clock.boot_s)
    state = kept(tmp_path, shared, clock)
    full_disk(monkeypatch, needed - 1)
    with monkeypatch.context() as patch:
        patch.setattr("verifier.host.kept_state.open_atomically", None)  # nothing is taken, for no moment
        with pytest.raises(OSError, match="No space left on device"):
            state.save_mirror()
    full_disk(monkeypatch, needed)
    assert state.save_mirror()


def test_a_full_disk_is_tried_again_after_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, shared = Clock(), memory()
    follow(shared, {1: 7}, clock.boot_s)
    state = kept(tmp_path, shared, clock)
    full_disk(monkeypatch, 0)
    for seconds in (0, 59):
        clock.go_on(seconds)
        with pytest.raises(OSError, match="No space left on device"):
            state.step()
        monkeypatch.undo()
    assert names(tmp_path) == []
    clock.go_on(1)
    state.step()
    assert names(tmp_path) == [MIRROR]


@pytest.mark.parametrize("at", [0, 1])
def test_a_mirror_that_is_loaded_anew_while_it_is_copied_is_not_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    clock, shared = Clock(), memory()
    records = {0: 7, RECORDS_PER_SHARD: 8}
    follow(shared, records, clock.boot_s)
    state = kept(tmp_path, shared, clock)
    shards = state._shards

    def slow_shards(generations: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        for number, shard in enumerate(shards(generations)):
            yield shard
            if number == at:  # also after the last one, and the half that is copied is given back
                follow(shared, records, clock.boot_s)
                shared.clear((shared.generations[0] + 1) & 1, 0, shared.layout.half_bytes)

    with monkeypatch.context() as patch:
        patch.setattr(state, "_shards", slow_shards)
        assert not state.save_mirror()
    assert names(tmp_path) == []
    assert state.save_mirror()


def test_an_old_mirror_is_replaced_as_soon_as_there_is_a_newer_one(tmp_path: Path) -> None:
    clock, shared = Clock(), memory()
    follow(shared, {1: 7}, clock.boot_s)
    kept(tmp_path, shared, clock).save_mirror()
    clock.go_on(8 * 3_600)
    again = memory()
    state = kept(tmp_path, again, clock)
    state.load_mirror(max_age_s=_DAY_S)
    state.step()
    clock.go_on(1)
    follow(again, {1: 8}, clock.boot_s)
    state.step()
    assert state.age_s == 0


def test_a_folder_that_was_there_keeps_its_mode_and_is_told_of_where_others_may_write(tmp_path: Path) -> None:
    told = []
    for mode in (0o755, 0o777):
        tmp_path.chmod(mode)
        with capture_logs() as logs:
            kept(tmp_path, memory(), Clock())
        assert tmp_path.stat().st_mode & 0o777 == mode
        told.append([log["event"] for log in logs])
    assert told == [[], ["others may write the state on the disk, and so colours"]]


def test_a_mirror_that_could_not_be_written_is_tried_again_after_ten_seconds_and_told_of_until_then(
    tmp_path: Path,
) -> None:
    clock, shared = Clock(), memory()
    follow(shared, {1: 7}, clock.boot_s)
    state = kept(tmp_path, shared, clock)
    (tmp_path / MIRROR).mkdir()
    for _ in range(10):
        with pytest.raises(IsADirectoryError):
            state.step()
        if names(tmp_path) != []:
            (tmp_path / MIRROR).rmdir()
        clock.go_on(1)
    state.step()
    assert names(tmp_path) == [MIRROR]


def test_a_document_is_kept_again_when_it_is_newer_and_whatever_is_lost_from_the_folder(
    tmp_path: Path,
) -> None:
    clock, shared = Clock(), memory()
    follow(shared, {1: 7}, clock.boot_s)
    shared.key_sets.write(b"first")
    state = kept(tmp_path, shared, clock)
    state.step()
    shared.key_sets.write(b"second")
    state.keep(KEY_SETS)
    state.step()
    assert state.kept(KEY_SETS) == b"second"
    for name in (KEY_SETS, MIRROR):
        (tmp_path / name).unlink()
    state.step()
    assert names(tmp_path) == [KEY_SETS, MIRROR]


def test_what_a_killed_run_left_half_written_is_removed_and_nothing_else(tmp_path: Path) -> None:
    left, other = tmp_path / f".{MIRROR}.0a1b2c3d", tmp_path / ".notes.0a1b2c3d"
    left.touch()
    other.touch()
    kept(tmp_path, memory(), Clock())
    assert (left.exists(), other.exists()) == (False, True)


@pytest.mark.parametrize(
    "header",
    [
        b'{"root_key_id": "0000000000000000", "partitions": 1, "current_at": [NaN]}',
        b'{"root_key_id": "0000000000000000", "partitions": Infinity, "current_at": []}',
        b"[" * 100_000,
        b"{}",
    ],
)
def test_a_header_of_nonsense_is_no_mirror(tmp_path: Path, header: bytes) -> None:
    content = b"GLkept01" + len(header).to_bytes(4, "little") + header
    content += (2**32 - 1).to_bytes(4, "little") + bytes(4) + zlib.crc32(header).to_bytes(4, "little")
    (tmp_path / MIRROR).write_bytes(content)
    again = memory()
    with pytest.raises(NotKept, match="header is damaged"):
        kept(tmp_path, again, Clock()).load_mirror(max_age_s=_DAY_S)
    assert not any(again.generations)


@pytest.fixture(scope="module")
def kept_by_a_verifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a verifier with key set 9 kept when it ended."""
    folder = tmp_path_factory.mktemp("kept")
    with EmbeddedRedis(folder) as server:
        publish(server.url)
        with redis.Redis.from_url(server.url) as client:
            client.set(KEY_SET_KEY, Signer().key_set(issued_at=int(time.time()), version=9))
        with serving("grpcio", server.url, folder):
            pass
    return folder / "journal" / "state"


@pytest.mark.parametrize("engine", ["grpcio", "envoy"])
def test_a_verifier_answers_from_its_disk_while_redis_is_down_and_refuses_a_redis_that_is_older(
    engine: str, kept_by_a_verifier: Path, own_redis: EmbeddedRedis, tmp_path: Path
) -> None:
    shutil.copytree(kept_by_a_verifier, tmp_path / "journal" / "state")
    own_redis.kill()
    with serving(engine, own_redis.url, tmp_path) as served, served.channel() as channel:
        answer = stub(channel).VerifyCode(served.scan(), timeout=TIMEOUT_S)
        assert answer.verdict == pb.VERDICT_GREEN
        assert answer.status_age_ms > 0
        own_redis.restart()
        publish(own_redis.url)  # key set 1
        eventually(lambda: "expected a version above 9, got 1" in served.log.read_text())
