"""Since when scan log waits for the archive."""

from verifier.journal.segments import Segment
from verifier.journal.unarchived import Unarchived

_BEGUN_AT = 2_000_000_000.0
_OURS, _THEIRS = (f"{int(_BEGUN_AT * 1e9):020d}-{worker}-0123abcd.scans" for worker in range(2))


def _segments(**sizes: int) -> list[Segment]:
    names = {"ours": _OURS, "theirs": _THEIRS}
    return [Segment(names[whose], size, False) for whose, size in sizes.items()]


def test_what_was_there_before_us_is_as_old_as_its_segment() -> None:
    waiting = Unarchived()
    waiting.look(_segments(ours=10, theirs=0), {}, _BEGUN_AT + 100)
    assert waiting.since == _BEGUN_AT
    waiting.look(_segments(ours=10, theirs=0), {_OURS: 10}, _BEGUN_AT + 101)
    assert waiting.since is None


def test_an_old_segment_with_new_scans_is_not_old() -> None:
    waiting = Unarchived()
    waiting.look(_segments(ours=0), {}, _BEGUN_AT)
    waiting.look(_segments(ours=10), {}, _BEGUN_AT + 7_000)
    assert waiting.since == _BEGUN_AT + 7_000


def test_a_steady_stream_that_is_archived_with_a_delay_is_as_old_as_that_delay() -> None:
    waiting, delay_s = Unarchived(), 2
    for second in range(100):
        waiting.look(_segments(ours=second), {_OURS: max(0, second - delay_s)}, _BEGUN_AT + second)
        if second > 10:
            assert waiting.since is not None
            assert delay_s - 1 <= _BEGUN_AT + second - waiting.since <= delay_s + 5


def test_each_worker_s_segment_counts_until_it_is_archived_or_gone() -> None:
    waiting = Unarchived()
    waiting.look([], {}, _BEGUN_AT)
    waiting.look(_segments(ours=10), {}, _BEGUN_AT + 10)
    waiting.look(_segments(ours=10, theirs=10), {}, _BEGUN_AT + 20)
    assert waiting.since == _BEGUN_AT + 10
    waiting.look(_segments(ours=10, theirs=10), {_OURS: 10}, _BEGUN_AT + 30)
    assert waiting.since == _BEGUN_AT + 20
    waiting.look(_segments(ours=10), {_OURS: 10}, _BEGUN_AT + 40)
    assert waiting.since is None


def test_an_archive_that_is_away_for_long_takes_little_memory() -> None:
    waiting = Unarchived()
    waiting.look([], {}, _BEGUN_AT)
    for minute in range(1, 5_000):
        waiting.look(_segments(ours=minute), {}, _BEGUN_AT + 60 * minute)
    assert len(waiting._marks) == 1_024
    assert waiting.since == _BEGUN_AT + 60
    waiting.look(_segments(ours=4_999), {_OURS: 4_999}, _BEGUN_AT + 60 * 5_000)
    assert waiting.since is None
