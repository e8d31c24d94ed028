"""From the disk to the stream, and off the disk once it is archived."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.verifier.journal.scans import Stream, frames, numbers_on_disk, open_journal, scan, segments_in
from verifier.journal.journal import Journal
from verifier.journal.segments import JOURNAL_ID_NAME, list_segments
from verifier.journal.shipper import Shipper
from verifier.journal.unshipped import read_unshipped
from verifier.wire.scan_log import JOURNAL_FIELD, MAX_BATCH_BYTES, read_frames


def test_what_a_living_worker_writes_is_shipped_at_the_next_turn(
    journal: Journal, shipper: Shipper, stream: Stream
) -> None:
    journal.append(frames([1, 2]))
    shipper.step()
    assert stream.scans() == [1, 2]
    shipper.step()
    journal.append(scan(3))
    shipper.step()
    assert stream.scans() == [1, 2, 3]
    assert stream.batch_numbers() == sorted(set(stream.batch_numbers()))
    assert len(stream.batches()) == shipper.shipped_batches == 2


def test_batches_carry_the_id_of_the_folder(
    journal: Journal, shipper: Shipper, stream: Stream, tmp_path: Path
) -> None:
    journal.append(scan(1))
    shipper.step()
    ((_, fields),) = stream.batches()
    assert fields[JOURNAL_FIELD] == (tmp_path / JOURNAL_ID_NAME).read_bytes()
    assert len(bytes.fromhex(fields[JOURNAL_FIELD].decode())) == 8


def test_a_segment_goes_when_it_is_closed_shipped_and_archived(
    journal: Journal, shipper: Shipper, stream: Stream, tmp_path: Path
) -> None:
    journal.append(scan(1))
    shipper.step()
    stream.archive()
    shipper.step()
    assert numbers_on_disk(tmp_path) == [1]  # still open
    assert shipper.waiting_bytes == len(scan(1))
    journal.append(scan(2))
    journal.close()
    shipper.step()
    shipper.step()
    assert numbers_on_disk(tmp_path) == [1, 2]  # not all archived
    assert stream.archive() == [2]
    shipper.step()
    assert segments_in(tmp_path) == []
    shipper.step()
    assert shipper.waiting_bytes == 0


def test_a_batch_that_is_archived_frees_no_more_than_its_own(
    shipper: Shipper, stream: Stream, tmp_path: Path
) -> None:
    for number in range(2):
        journal = open_journal(tmp_path)
        journal.append(scan(number))
        journal.close()
        shipper.step()
    assert stream.archive(batches=1) == [0]
    shipper.step()
    assert numbers_on_disk(tmp_path) == [1]


def test_batches_end_between_frames_and_have_a_largest_size(
    journal: Journal, shipper: Shipper, stream: Stream
) -> None:
    numbers = range(3 * MAX_BATCH_BYTES // 900)
    for number in numbers:
        journal.append(scan(number, size=800))
    shipper.step()
    assert stream.scans() == list(numbers)
    assert len(stream.batches()) == 3


def test_a_turn_is_bounded_and_the_next_goes_on(
    journal: Journal, shipper: Shipper, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verifier.journal.shipper.MAX_TURN_BYTES", 100_000)
    numbers = range(700)
    for number in numbers:
        journal.append(scan(number, size=800))
    shipper.step()
    assert 0 < len(stream.scans()) < 400
    shipper.step()
    shipper.step()
    assert stream.scans() == list(numbers)


def test_what_is_over_a_turn_is_not_even_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        journal = open_journal(tmp_path)
        journal.append(scan(number))
        journal.close()
    read: list[bytes] = []

    def reading(chunk: bytes) -> Iterator[tuple[int, bytes]]:
        read.append(chunk)
        return read_frames(chunk)

    monkeypatch.setattr("verifier.journal.unshipped.read_frames", reading)
    found = read_unshipped(tmp_path, list_segments(tmp_path), {}, limit_bytes=1)
    assert (found.batches, found.is_all, len(read)) == ([scan(0)], False, 1)


def test_a_full_stream_is_left_alone_and_the_journal_keeps_what_comes(
    journal: Journal, start_shipper: Callable[..., Shipper], stream: Stream
) -> None:
    shipper = start_shipper(max_stream_batches=1)
    for number in range(4):
        journal.append(scan(number))
        shipper.step()
    assert stream.scans() == [0, 1]
    assert stream.archive() == [0, 1]
    shipper.step()
    assert stream.scans() == [2, 3]


def test_damage_is_passed_over_and_counted(
    journal: Journal, shipper: Shipper, stream: Stream, tmp_path: Path
) -> None:
    journal.append(scan(1))
    journal.append(scan(2)[:10])
    journal.append(scan(3))
    journal.append(b"G" * 300_000)
    journal.append(scan(4))
    journal.append(scan(5)[:-1])
    shipper.step()
    assert stream.scans() == [1, 3, 4]
    assert shipper.damaged_bytes == 10 + 300_000
    journal.close()
    shipper.step()
    assert shipper.damaged_bytes == 10 + 300_000 + len(scan(5)) - 1
    stream.archive()
    shipper.step()
    assert segments_in(tmp_path) == []


def test_a_frame_that_is_half_written_is_waited_for(
    journal: Journal, shipper: Shipper, stream: Stream
) -> None:
    journal.append(scan(1) + scan(2)[:20])
    shipper.step()
    journal.append(scan(2)[20:])
    shipper.step()
    assert stream.scans() == [1, 2]
    assert shipper.damaged_bytes == 0
