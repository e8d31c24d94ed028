"""Who holds a segment, and what may be removed."""

import os
from pathlib import Path

import pytest

from verifier.journal import segments
from verifier.journal.segments import create_segment, drop_oldest, list_segments, remove_closed, try_lock


def _closed(folder: Path, size: int) -> str:
    descriptor, path = create_segment(folder, 0)
    os.write(descriptor, b"x" * size)
    os.close(descriptor)
    return path.name


def test_segments_are_listed_in_the_order_of_their_making(tmp_path: Path) -> None:
    names = [_closed(tmp_path, size) for size in (1, 2, 3)]
    listed = list_segments(tmp_path)
    assert [segment.name for segment in listed] == names
    assert [segment.size for segment in listed] == [1, 2, 3]
    assert all(segment.is_closed for segment in listed)


def test_a_segment_is_for_its_owner_alone(tmp_path: Path) -> None:
    segments.create_folder(tmp_path / "journal")
    name = _closed(tmp_path / "journal", 1)
    assert (tmp_path / "journal").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "journal" / name).stat().st_mode & 0o777 == 0o600


def test_a_segment_that_is_written_is_neither_closed_nor_removed(tmp_path: Path) -> None:
    descriptor, path = create_segment(tmp_path, 0)
    assert not list_segments(tmp_path)[0].is_closed
    assert remove_closed(tmp_path, path.name) is None
    os.close(descriptor)
    assert list_segments(tmp_path)[0].is_closed
    assert remove_closed(tmp_path, path.name) == 0


def test_a_segment_that_is_removed_while_it_is_made_is_given_up_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[Path] = []

    def lock_too_late(descriptor: int) -> bool:
        if not removed:
            removed.extend(tmp_path.iterdir())
            removed[0].unlink()
        return try_lock(descriptor)

    monkeypatch.setattr(segments, "try_lock", lock_too_late)
    descriptor, path = create_segment(tmp_path, 0)
    os.close(descriptor)
    assert list(tmp_path.iterdir()) == [path]
    assert [path] != removed


def test_a_segment_of_another_size_than_was_read_stays(tmp_path: Path) -> None:
    name = _closed(tmp_path, 10)
    assert remove_closed(tmp_path, name, size=9) is None
    assert remove_closed(tmp_path, name, size=10) == 10
    assert remove_closed(tmp_path, name, size=10) is None


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    name = _closed(tmp_path, 10)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / name.replace("-0-", "-1-")).symlink_to(tmp_path / "notes.txt")
    os.mkfifo(tmp_path / name.replace("-0-", "-2-"))
    assert [segment.name for segment in list_segments(tmp_path)] == [name]


def test_the_oldest_closed_segments_give_way(tmp_path: Path) -> None:
    names = [_closed(tmp_path, 100) for _ in range(4)]
    assert drop_oldest(tmp_path, limit_bytes=400, segment_bytes=100) == 0
    assert drop_oldest(tmp_path, limit_bytes=399, segment_bytes=100) == 100
    assert [segment.name for segment in list_segments(tmp_path)] == names[1:]


def test_a_segment_that_is_written_counts_as_a_full_one(tmp_path: Path) -> None:
    descriptor, path = create_segment(tmp_path, 0)
    _closed(tmp_path, 100)
    assert drop_oldest(tmp_path, limit_bytes=200, segment_bytes=100) == 0
    assert drop_oldest(tmp_path, limit_bytes=199, segment_bytes=100) == 100
    assert [segment.name for segment in list_segments(tmp_path)] == [path.name]
    os.close(descriptor)


def test_small_segments_are_bounded_in_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "MAX_SEGMENTS", 3)
    names = [_closed(tmp_path, 1) for _ in range(4)]
    assert drop_oldest(tmp_path, limit_bytes=1 << 30, segment_bytes=100) == 1
    assert [segment.name for segment in list_segments(tmp_path)] == names[1:]
