"""Every scan reaches the archive at least once, whatever happens on the way."""

import contextlib
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.client import Pipeline
from structlog.testing import capture_logs

from loadtest.embedded_redis import EmbeddedRedis
from tests.verifier.journal.scans import (
    Stream,
    frames,
    journal_id,
    numbers_on_disk,
    open_journal,
    scan,
    segments_in,
)
from verifier.journal.journal import Journal
from verifier.journal.shipped import Note
from verifier.journal.shipper import NOTE_TTL_S, FolderMovedError, Shipper
from verifier.journal.unshipped import Unshipped, read_unshipped
from verifier.trouble import Trouble, classify
from verifier.wire.scan_log import (
    ARCHIVED_KEY,
    ENTRIES_FIELD,
    JOURNAL_FIELD,
    NUMBER_FIELD,
    PREVIOUS_FIELD,
    SCANS_KEY,
    SHIPPED_KEY_PREFIX,
)


def test_what_redis_forgot_is_shipped_again_under_higher_numbers(
    journal: Journal, shipper: Shipper, stream: Stream
) -> None:
    for number in range(4):
        journal.append(scan(number))
        shipper.step()
    assert stream.archive(batches=1) == [0]
    shipper.step()
    lost = stream.batch_numbers()
    stream.redis.flushall()
    shipper.step()
    # What is known to be archived is not shipped again.
    assert stream.scans() == [1, 2, 3]
    assert min(stream.batch_numbers()) > max(lost)


def test_an_old_confirmation_frees_nothing_that_redis_forgot(
    shipper: Shipper, stream: Stream, tmp_path: Path
) -> None:
    journal = open_journal(tmp_path)
    journal.append(scan(1))
    journal.close()
    shipper.step()
    (read_before,) = stream.batches()
    stream.redis.flushall()
    stream.redis.xadd(SCANS_KEY, read_before[1])
    stream.archive(batches=1)  # of the past, and noted in the new Redis
    shipper.step()
    assert numbers_on_disk(tmp_path) == [1]
    assert stream.scans() == [1]


@pytest.mark.parametrize("nonsense", [b"9" * 5_000, b"9" * 21, b"-1", b"many"])
def test_a_confirmation_that_is_no_number_of_a_batch_is_none(
    journal: Journal, shipper: Shipper, stream: Stream, tmp_path: Path, nonsense: bytes
) -> None:
    shipper.step()  # which gives the folder its id
    stream.redis.hset(ARCHIVED_KEY, journal_id(tmp_path), nonsense)
    journal.append(scan(1))
    shipper.step()
    assert stream.scans() == [1]
    assert shipper.waiting_bytes


def test_a_stream_that_vanished_is_shipped_again(journal: Journal, shipper: Shipper, stream: Stream) -> None:
    journal.append(frames([1, 2]))
    shipper.step()
    stream.redis.delete(SCANS_KEY)
    shipper.step()
    assert stream.scans() == [1, 2]
    shipper.step()
    assert stream.scans() == [1, 2]


def test_a_stream_that_vanished_is_shipped_again_whatever_others_have_put_there_since(
    start_shipper: Callable[..., Shipper], stream: Stream, tmp_path: Path
) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    shipper, other = start_shipper(ours), start_shipper(theirs)
    journal, busy = open_journal(ours), open_journal(theirs)
    journal.append(scan(1))
    shipper.step()
    stream.redis.delete(SCANS_KEY)
    for number in range(10, 15):
        busy.append(scan(number))
        other.step()
    shipper.step()
    assert stream.scans() == [10, 11, 12, 13, 14, 1]
    journal.close()
    stream.archive()
    shipper.step()
    assert segments_in(ours) == []
    busy.close()


def test_a_batch_lost_out_of_the_middle_frees_nothing_and_is_shipped_again(
    shipper: Shipper, stream: Stream, tmp_path: Path
) -> None:
    for number in range(4):
        journal = open_journal(tmp_path)
        journal.append(scan(number))
        journal.close()
        shipper.step()
    stream.redis.xdel(SCANS_KEY, stream.batches()[1][0])
    assert stream.archive() == [0, 2, 3]
    shipper.step()
    shipper.step()
    assert numbers_on_disk(tmp_path) == [1, 2, 3]
    assert stream.archive() == [1, 2, 3]
    shipper.step()
    assert segments_in(tmp_path) == []


@pytest.mark.parametrize("is_quiet", [True, False])
def test_a_new_shipper_notices_what_the_stream_lost_before_it(
    start_shipper: Callable[..., Shipper], stream: Stream, tmp_path: Path, is_quiet: bool
) -> None:
    first = start_shipper()
    for number in range(3):
        journal = open_journal(tmp_path)
        journal.append(scan(number))
        journal.close()
        first.step()
    first.close()
    stream.redis.xtrim(SCANS_KEY, maxlen=1, approximate=False)
    second = start_shipper()
    if not is_quiet:
        journal = open_journal(tmp_path)
        journal.append(scan(3))
        journal.close()
    second.step()
    second.step()
    assert len(stream.batches()) == 2
    archived = set(stream.archive())
    second.step()
    archived |= set(stream.archive())
    second.step()
    assert archived == set(range(3 if is_quiet else 4))
    assert segments_in(tmp_path) == []


def test_a_journal_that_ships_no_more_leaves_no_note_for_ever(
    journal: Journal, shipper: Shipper, stream: Stream, tmp_path: Path
) -> None:
    journal.append(scan(1))
    shipper.step()
    assert 0 < stream.redis.ttl(SHIPPED_KEY_PREFIX + journal_id(tmp_path)) <= NOTE_TTL_S


def test_a_redis_that_was_set_back_is_given_what_it_misses(
    journal: Journal, shipper: Shipper, stream: Stream, tmp_path: Path
) -> None:
    journal.append(scan(1))
    shipper.step()
    key = SHIPPED_KEY_PREFIX + journal_id(tmp_path)
    note = stream.redis.get(key)
    journal.append(scan(2))
    shipper.step()
    stream.redis.xdel(SCANS_KEY, stream.batches()[-1][0])
    stream.redis.set(key, note)
    shipper.step()
    assert stream.scans() == [1, 2]


def test_a_new_shipper_goes_on_where_the_old_one_was(
    journal: Journal, start_shipper: Callable[..., Shipper], stream: Stream, tmp_path: Path
) -> None:
    first = start_shipper()
    journal.append(scan(1))
    first.step()
    first.close()
    journal.append(scan(2))
    journal.close()
    second = start_shipper()
    second.step()
    assert stream.scans() == [1, 2]
    assert stream.batch_numbers() == sorted(set(stream.batch_numbers()))
    stream.archive()
    second.step()
    assert segments_in(tmp_path) == []


def test_a_new_shipper_ships_again_what_redis_forgot_meanwhile(
    journal: Journal, start_shipper: Callable[..., Shipper], stream: Stream
) -> None:
    first = start_shipper()
    journal.append(scan(1))
    first.step()
    first.close()
    lost = stream.batch_numbers()
    stream.redis.flushall()
    start_shipper().step()
    assert stream.scans() == [1]
    assert stream.batch_numbers() > lost


def test_one_supervisor_ships_a_folder_and_another_takes_over(
    journal: Journal,
    start_shipper: Callable[..., Shipper],
    stream: Stream,
) -> None:
    first, second = start_shipper(), start_shipper()
    first.step()
    journal.append(scan(1))
    with capture_logs() as logs:
        second.step()
        second.step()
    assert stream.scans() == []
    assert [log["event"].partition(":")[0] for log in logs] == ["another supervisor ships this journal"]
    first.close()
    second.step()
    assert stream.scans() == [1]


def _write_segment(folder: Path, number: int) -> None:
    journal = open_journal(folder)
    journal.append(scan(number))
    journal.close()


@pytest.mark.parametrize("slow_s", [0.0, 3_600.0])
def test_a_batch_of_an_earlier_shipper_confirms_nothing_of_one_that_finds_no_note(
    stream: Stream, tmp_path: Path, redis_url: str, slow_s: float
) -> None:
    now = 2_000_000_000.0
    first = Shipper(tmp_path, redis_url=redis_url, unix_time=lambda: now)
    _write_segment(tmp_path, 1)
    first.step()
    first.close()
    stream.redis.delete(SHIPPED_KEY_PREFIX + journal_id(tmp_path))
    second = Shipper(tmp_path, redis_url=redis_url, unix_time=lambda: now - slow_s)
    _write_segment(tmp_path, 2)
    second.step()
    assert stream.archive(batches=1) == [1]  # of the first
    second.step()
    assert numbers_on_disk(tmp_path) == [1, 2]
    assert stream.archive() == [1, 2]
    second.step()
    assert segments_in(tmp_path) == []
    second.close()


def test_a_segment_that_cannot_be_read_holds_up_no_other(
    shipper: Shipper, stream: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        journal = open_journal(tmp_path)
        journal.append(scan(number))
        journal.close()
    bad = segments_in(tmp_path)[0].stat().st_ino
    pread = os.pread

    def failing(descriptor: int, size: int, at: int) -> bytes:
        if os.fstat(descriptor).st_ino == bad:
            raise OSError(5, "Input/output error")
        return pread(descriptor, size, at)

    monkeypatch.setattr(os, "pread", failing)
    shipper.step()
    stream.archive()
    shipper.step()
    assert numbers_on_disk(tmp_path) == [0]


def test_a_folder_that_was_removed_is_a_new_journal(
    start_shipper: Callable[..., Shipper], stream: Stream, tmp_path: Path
) -> None:
    folder = tmp_path / "journal"
    shipper = start_shipper(folder)
    shipper.step()
    old = journal_id(folder)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    shipper.step()
    assert journal_id(folder) != old
    journal = open_journal(folder)
    journal.append(scan(1))
    journal.close()
    shipper.step()
    assert stream.scans() == [1]


def _turns_in_trouble(shipper: Shipper, *, most: int = 20) -> int:
    for turn in range(most):
        try:
            shipper.step()
        except FolderMovedError:
            continue
        else:
            return turn
    return most


def test_a_folder_that_was_moved_is_shipped_from_where_it_is_and_then_the_one_at_its_path(
    start_shipper: Callable[..., Shipper], stream: Stream, tmp_path: Path
) -> None:
    folder, aside = tmp_path / "journal", tmp_path / "elsewhere"
    shipper, journal = start_shipper(folder), open_journal(folder)
    shipper.step()
    folder.rename(aside)
    journal.append(scan(1))
    other = open_journal(folder)  # a worker that has gone on
    other.append(scan(2))
    with pytest.raises(FolderMovedError, match="not the one that was taken") as raised:
        shipper.step()
    assert classify(raised.value) is Trouble.DISK
    assert stream.scans() == [1]
    with capture_logs() as logs:
        assert 2 < _turns_in_trouble(shipper) < 10
    assert [log["waiting_bytes"] for log in logs if "was moved away" in log["event"]] == [len(scan(1))]
    assert stream.scans() == [1, 2]
    assert journal_id(folder) != journal_id(aside)
    other.close()
    stream.archive()
    shipper.step()
    assert segments_in(folder) == []
    journal.close()


def test_a_folder_that_was_moved_is_kept_while_redis_has_not_all_or_there_is_no_other(
    tmp_path: Path, own_redis: EmbeddedRedis
) -> None:
    folder, aside = tmp_path / "journal", tmp_path / "elsewhere"
    shipper, journal = Shipper(folder, redis_url=own_redis.url), open_journal(folder)
    shipper.step()
    folder.rename(aside)
    folder.touch()
    journal.append(scan(1))
    for _ in range(10):
        with pytest.raises(NotADirectoryError):
            shipper.step()
    stream = Stream(own_redis.url)
    assert stream.scans() == [1]
    folder.unlink()
    aside.rename(folder)
    shipper.step()
    journal.append(scan(2))
    shipper.step()
    assert stream.scans() == [1, 2]
    stream.redis.close()
    shipper.close()
    journal.close()


def test_the_age_of_what_is_not_archived_grows_until_the_archive_has_it(
    stream: Stream, tmp_path: Path, redis_url: str
) -> None:
    now = 2_000_000_000.0
    journal = open_journal(tmp_path)
    shipper = Shipper(tmp_path, redis_url=redis_url, unix_time=lambda: now, monotonic=lambda: now)
    shipper.step()
    assert shipper.oldest_unarchived_age_s == 0
    journal.append(scan(1))
    for number in range(2, 12):
        shipper.step()
        now += 60
        journal.append(scan(number))
    assert shipper.oldest_unshipped_age_s == 60
    assert shipper.oldest_unarchived_age_s == 600
    shipper.step()
    stream.archive(batches=5)  # of eleven
    shipper.step()  # which hears of it
    shipper.step()
    assert shipper.oldest_unarchived_age_s == 300
    stream.archive()
    shipper.step()
    shipper.step()
    assert shipper.oldest_unarchived_age_s == 0
    shipper.close()
    journal.close()


def test_the_age_of_what_waits_grows_until_all_is_shipped(tmp_path: Path, own_redis: EmbeddedRedis) -> None:
    now = 2_000_000_000.0
    shipper = Shipper(tmp_path, redis_url=own_redis.url, unix_time=lambda: now, monotonic=lambda: now)
    shipper.step()
    journal = open_journal(tmp_path)
    journal.append(scan(1))
    own_redis.freeze()
    now += 10
    with pytest.raises(redis.RedisError):
        shipper.step()
    assert shipper.oldest_unshipped_age_s == 10
    assert shipper.waiting_bytes == len(scan(1))
    own_redis.thaw()
    shipper.step()
    assert shipper.oldest_unshipped_age_s == 0
    stream = Stream(own_redis.url)
    assert stream.scans() == [1]

    own_redis.restart()  # empty
    with contextlib.suppress(redis.RedisError):
        shipper.step()  # on the connection to the old one
    shipper.step()
    assert stream.scans() == [1]
    stream.redis.close()
    shipper.close()
    journal.close()


def test_a_folder_that_was_never_looked_into_does_not_look_shipped(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    folder.write_text("no folder")
    now = 2_000_000_000.0
    shipper = Shipper(folder, redis_url="redis://127.0.0.1:1/0", unix_time=lambda: now, monotonic=lambda: now)
    now += 10
    with pytest.raises(NotADirectoryError):
        shipper.step()
    assert shipper.oldest_unshipped_age_s == 10
    shipper.close()


def test_a_clock_that_is_set_back_makes_nothing_younger(tmp_path: Path) -> None:
    passed_s, set_back_s = 0.0, 0.0
    shipper = Shipper(
        tmp_path,
        redis_url="redis://127.0.0.1:1/0",
        unix_time=lambda: 2_000_000_000.0 + passed_s - set_back_s,
        monotonic=lambda: passed_s,
    )
    journal = open_journal(tmp_path)
    for passed_s, set_back_s in ((0.0, 0.0), (1.0, 0.0), (601.0, 3_600.0)):  # noqa: B007 - read above
        with pytest.raises(redis.RedisError):
            shipper.step()
        journal.append(scan(1))
    assert shipper.oldest_unshipped_age_s == 601
    assert shipper.oldest_unarchived_age_s == 600
    shipper.close()
    journal.close()


def test_a_turn_that_another_one_overtook_puts_nothing_into_the_stream(
    journal: Journal, shipper: Shipper, stream: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipper.step()
    journal.append(scan(1))
    key = SHIPPED_KEY_PREFIX + journal_id(tmp_path)

    def overtaken(*arguments: Any, **bounds: Any) -> Unshipped:
        stream.redis.set(key, Note(1, {}).encode())
        return read_unshipped(*arguments, **bounds)

    with monkeypatch.context() as patch:
        patch.setattr("verifier.journal.shipper.read_unshipped", overtaken)
        with pytest.raises(redis.WatchError):
            shipper.step()
    assert stream.scans() == []
    shipper.step()
    assert stream.scans() == [1]


def test_batches_whose_reply_was_lost_are_not_shipped_again(
    journal: Journal, shipper: Shipper, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.append(scan(1))
    with monkeypatch.context() as patch:
        patch.setattr(Pipeline, "execute", _execute_and_lose_the_reply)
        with pytest.raises(redis.TimeoutError):
            shipper.step()
    journal.append(scan(2))
    shipper.step()
    assert stream.scans() == [1, 2]
    assert stream.archive() == [1, 2]
    journal.close()
    shipper.step()
    assert shipper.waiting_bytes == len(frames([1, 2]))  # as it was before this turn
    shipper.step()
    assert shipper.waiting_bytes == 0


@pytest.mark.parametrize("seed", range(4))
def test_every_scan_reaches_the_archive_whatever_happens(  # noqa: C901 - one arm for each thing
    seed: int,
    start_shipper: Callable[..., Shipper],
    stream: Stream,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chance = random.Random(seed)
    folder = tmp_path / "journal"
    journal, shipper = open_journal(folder, 300), start_shipper(folder, max_stream_batches=3)
    backup: dict[bytes, bytes] = {}
    archived: set[int] = set()
    frames_of_another: Any = {JOURNAL_FIELD: "f" * 16, NUMBER_FIELD: 1, PREVIOUS_FIELD: 0, ENTRIES_FIELD: b""}
    written = 0
    for _ in range(150):
        match chance.choice(
            ["append"] * 4
            + ["ship"] * 4
            + ["archive", "back up", "set back", "wipe", "lose stream", "lose a batch", "lose reply", "die"]
        ):
            case "append":
                journal.append(frames(range(written, written + 3)))
                written += 3
            case "ship":
                shipper.step()
            case "lose reply":
                with monkeypatch.context() as patch, contextlib.suppress(redis.TimeoutError):
                    patch.setattr(Pipeline, "execute", _execute_and_lose_the_reply)
                    shipper.step()
            case "archive":
                archived |= set(stream.archive(batches=chance.randrange(4)))
            case "back up":
                backup = stream.back_up()
            case "set back":
                stream.set_back(backup)
            case "wipe":
                stream.redis.flushdb()
            case "lose stream":
                stream.redis.delete(SCANS_KEY)
                stream.redis.xadd(SCANS_KEY, frames_of_another)
            case "lose a batch":
                stream.redis.xdel(SCANS_KEY, chance.choice(stream.batches() or [(b"0-1", {})])[0])
            case _:
                journal.close()
                shipper.close()
                journal, shipper = open_journal(folder, 300), start_shipper(folder, max_stream_batches=3)
    journal.close()
    for _ in range(100):
        shipper.step()
        archived |= set(stream.archive())
    assert archived == set(range(written))
    assert segments_in(folder) == []


_ENDLESS_WRITER = """
import itertools, os, sys
from pathlib import Path
from tests.verifier.journal.scans import scan
from verifier.counters import Counters
from verifier.journal.journal import Journal
journal = Journal(Path(sys.argv[1]), limit_bytes=64 << 20, counters=Counters(), worker=0, segment_bytes=2_000)
for number in itertools.count():
    journal.append(scan(number))
    os.write(1, b"%d\\n" % number)
"""


def test_a_killed_worker_loses_nothing_that_was_appended(
    tmp_path: Path, start_shipper: Callable[..., Shipper], stream: Stream
) -> None:
    folder = tmp_path / "journal"
    shipper = start_shipper(folder)
    with subprocess.Popen(
        [sys.executable, "-c", _ENDLESS_WRITER, str(folder)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        appended = [int(process.stdout.readline()) for _ in range(200)]
        shipper.step()
        appended += [int(process.stdout.readline()) for _ in range(200)]
        process.kill()
        appended += [int(line) for line in process.stdout if line.endswith(b"\n")]
    shipper.step()
    shipped = stream.scans()
    assert sorted(shipped) == list(range(len(shipped)))
    assert appended == list(range(len(appended)))
    assert len(shipped) >= len(appended)
    stream.archive()
    shipper.step()
    assert segments_in(folder) == []


_execute = Pipeline.execute


def _execute_and_lose_the_reply(pipeline: Any) -> None:
    _execute(pipeline)
    raise redis.TimeoutError
