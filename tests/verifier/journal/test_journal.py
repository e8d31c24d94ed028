"""What append promises: it is written, or counted, and the verdict goes on."""

import contextlib
import os
import resource
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.verifier.journal.scans import frames, numbers_in, numbers_on_disk, scan, segments_in
from verifier.counters import Counter, Counters
from verifier.journal.journal import Journal
from verifier.journal.segments import list_segments
from verifier.trouble import Trouble, from_number

LIMIT_BYTES = 1 << 20


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_journal(tmp_path: Path, counters: Counters, clock: Clock) -> Iterator[Callable[..., Journal]]:
    with contextlib.ExitStack() as stack:

        def open_one(worker: int = 0, folder: Path = tmp_path, **settings: int) -> Journal:
            journal = Journal(
                folder,
                **{"limit_bytes": LIMIT_BYTES, **settings},
                counters=counters,
                worker=worker,
                monotonic=clock,
            )
            stack.callback(journal.close)
            return journal

        yield open_one


def _failed(counters: Counters) -> int:
    return counters.get(Counter.JOURNAL_FAILED)


def _trouble(counters: Counters) -> Trouble | None:
    return from_number(counters.get(Counter.JOURNAL_TROUBLE))


@contextlib.contextmanager
def _largest_file(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _break(journal: Journal, path: str, flags: int) -> None:
    descriptor = os.open(path, flags)
    os.dup2(descriptor, journal._descriptor)
    os.close(descriptor)


def test_what_is_appended_is_on_disk_at_once(tmp_path: Path, open_journal: Callable[..., Journal]) -> None:
    journal = open_journal()
    journal.append(scan(1))
    journal.append(frames(range(2, 5)))
    assert numbers_on_disk(tmp_path) == [1, 2, 3, 4]


def test_a_full_segment_is_followed_by_another(tmp_path: Path, open_journal: Callable[..., Journal]) -> None:
    journal = open_journal(segment_bytes=1_000)
    for number in range(100):
        journal.append(scan(number))
    assert numbers_on_disk(tmp_path) == list(range(100))
    listed = list_segments(tmp_path)
    assert len(listed) > 2
    assert all(segment.size <= 1_000 for segment in listed)
    assert [segment.is_closed for segment in listed] == [True] * (len(listed) - 1) + [False]


def test_no_scan_is_lost_or_torn_when_16_threads_fill_segments(
    tmp_path: Path, open_journal: Callable[..., Journal], counters: Counters
) -> None:
    journal = open_journal(limit_bytes=64 << 20, segment_bytes=4_000)

    def write(thread: int) -> None:
        for number in range(500):
            journal.append(scan(1_000 * thread + number))

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = numbers_on_disk(tmp_path)
    assert sorted(written) == [1_000 * thread + number for thread in range(16) for number in range(500)]
    assert sum(len(scan(number)) for number in written) == sum(s.size for s in list_segments(tmp_path))
    assert _failed(counters) == 0
    assert len(segments_in(tmp_path)) > 3


def test_the_disk_bound_holds_for_all_workers_together_and_costs_the_oldest(
    tmp_path: Path, open_journal: Callable[..., Journal], counters: Counters
) -> None:
    limit_bytes = 64 * 1_000
    journals = [open_journal(worker, limit_bytes=limit_bytes) for worker in range(4)]
    total = 0
    for number in range(3_000):
        journals[number % 4].append(scan(number))
        total += len(scan(number))
        if number % 200 == 0:
            assert sum(s.size for s in list_segments(tmp_path)) <= limit_bytes
    left = numbers_on_disk(tmp_path)
    assert sorted(left) == list(range(3_000 - len(left), 3_000))
    dropped = counters.get(Counter.JOURNAL_DROPPED_BYTES)
    assert dropped == total - sum(s.size for s in list_segments(tmp_path))
    assert _failed(counters) == 0


def test_a_file_that_may_grow_no_further_is_followed_by_another(
    tmp_path: Path, open_journal: Callable[..., Journal], counters: Counters, clock: Clock
) -> None:
    journal = open_journal()
    with _largest_file(100):
        journal.append(frames(range(10)))  # a part of it fits, and one scan is torn
    written = numbers_on_disk(tmp_path)
    assert written == list(range(len(written)))
    assert _failed(counters) == 10 - len(written) > 0
    with _largest_file(100):
        journal.append(scan(10))
        clock.now += 1
        journal.append(scan(11))
    assert numbers_on_disk(tmp_path) == [*written, 11]
    assert _failed(counters) == 11 - len(written)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_counted_and_the_same_file_used_once_there_is_space(
    tmp_path: Path, open_journal: Callable[..., Journal], counters: Counters, clock: Clock
) -> None:
    journal = open_journal(segment_bytes=300)
    own = os.dup(journal._descriptor)
    _break(journal, "/dev/full", os.O_WRONLY)
    for number in range(10):
        clock.now += 1
        journal.append(frames([number, number]))
    assert _failed(counters) == 20
    assert _trouble(counters) is Trouble.DISK_FULL
    assert len(segments_in(tmp_path)) == 1
    os.dup2(own, journal._descriptor)
    os.close(own)
    journal.append(scan(10))
    assert numbers_on_disk(tmp_path) == [10]
    assert _failed(counters) == 20
    for number in range(11, 13):  # a second in which none failed
        clock.now += 1
        journal.append(scan(number))
    assert _trouble(counters) is None


def test_a_descriptor_that_went_bad_is_replaced_at_a_bounded_pace(
    tmp_path: Path, open_journal: Callable[..., Journal], counters: Counters, clock: Clock
) -> None:
    journal = open_journal()
    journal.append(scan(1))
    _break(journal, os.devnull, os.O_RDONLY)
    clock.now += 0.5
    for number in range(2, 5):
        journal.append(scan(number))
    assert _failed(counters) == 3
    clock.now += 0.5
    journal.append(scan(5))
    assert numbers_on_disk(tmp_path) == [1, 5]


def test_a_folder_that_cannot_be_made_is_tried_again(
    tmp_path: Path, open_journal: Callable[..., Journal], counters: Counters, clock: Clock
) -> None:
    blocker = tmp_path / "disk"
    blocker.write_text("not a folder")
    journal = open_journal(folder=blocker / "journal")
    assert _trouble(counters) is Trouble.DISK
    journal.append(frames([1, 2]))
    assert _failed(counters) == 2
    blocker.unlink()
    journal.append(scan(3))
    assert _failed(counters) == 3
    clock.now += 1
    journal.append(scan(4))
    assert numbers_on_disk(blocker / "journal") == [4]


def test_a_folder_that_was_removed_is_made_again(
    tmp_path: Path, open_journal: Callable[..., Journal], clock: Clock
) -> None:
    folder = tmp_path / "journal"
    journal = open_journal(folder=folder)
    shutil.rmtree(folder)
    clock.now += 1
    journal.append(scan(1))
    assert numbers_on_disk(folder) == [1]


def test_a_folder_that_was_moved_away_is_left_and_told_of(
    tmp_path: Path, open_journal: Callable[..., Journal], counters: Counters, clock: Clock
) -> None:
    folder, aside = tmp_path / "journal", tmp_path / "elsewhere"
    journal = open_journal(folder=folder)
    journal.append(scan(1))
    folder.rename(aside)
    clock.now += 1
    journal.append(scan(2))
    assert _trouble(counters) is Trouble.DISK
    assert (numbers_on_disk(aside), numbers_on_disk(folder)) == ([1], [2])
    for number in (3, 4):
        clock.now += 1
        journal.append(scan(number))
    assert _trouble(counters) is None
    assert len(segments_in(folder)) == 1
    assert _failed(counters) == 0


def test_while_there_is_no_other_folder_it_goes_on_in_the_one_that_was_moved(
    tmp_path: Path, open_journal: Callable[..., Journal], counters: Counters, clock: Clock
) -> None:
    folder, aside = tmp_path / "journal", tmp_path / "elsewhere"
    journal = open_journal(folder=folder)
    folder.rename(aside)
    folder.touch()
    for number in range(3):
        clock.now += 1
        journal.append(scan(number))
    assert _trouble(counters) is Trouble.DISK
    assert numbers_on_disk(aside) == [0, 1, 2]
    assert _failed(counters) == 0


def test_scans_for_a_folder_that_was_removed_for_good_are_counted(
    tmp_path: Path, open_journal: Callable[..., Journal], counters: Counters, clock: Clock
) -> None:
    folder = tmp_path / "journal"
    journal = open_journal(folder=folder)
    shutil.rmtree(folder)
    folder.touch()
    clock.now += 1
    journal.append(frames([1, 2]))
    journal.append(scan(3))
    assert _failed(counters) == 3
    folder.unlink()
    clock.now += 1
    journal.append(scan(4))
    assert numbers_on_disk(folder) == [4]
    assert _failed(counters) == 3


def test_a_segment_that_cannot_be_followed_does_not_grow_for_ever(
    tmp_path: Path, open_journal: Callable[..., Journal], counters: Counters, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = open_journal(segment_bytes=1_000)

    def refused(*_: object) -> tuple[int, Path]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("verifier.journal.journal.create_segment", refused)
    for number in range(1_000):
        journal.append(scan(number, size=800))
    (path,) = segments_in(tmp_path)
    assert path.stat().st_size < 300_000
    assert len(numbers_in(path.read_bytes())) + _failed(counters) == 1_000


def test_what_comes_after_the_end_is_counted(
    tmp_path: Path, open_journal: Callable[..., Journal], counters: Counters, clock: Clock
) -> None:
    journal = open_journal()
    journal.append(scan(1))
    journal.close()
    clock.now += 1
    journal.append(scan(2))
    assert numbers_on_disk(tmp_path) == [1]
    assert _failed(counters) == 1
    assert list_segments(tmp_path)[0].is_closed


def test_a_worker_without_scans_leaves_no_file(tmp_path: Path, open_journal: Callable[..., Journal]) -> None:
    open_journal().close()
    assert segments_in(tmp_path) == []
