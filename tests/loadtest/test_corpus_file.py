"""The corpus on disk: what is written comes back, and nothing else is taken for a corpus."""

import itertools
import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loadtest.corpus_file import (
    CorpusError,
    CorpusFile,
    CorpusTooOld,
    NotACorpus,
    Scan,
    Slot,
    Walk,
    write_corpus,
)
from verifier.verdict import Verdict

# Long past the end of the tests; the clock is looked at when a corpus is opened.
_FOREVER = 2.0**40
_IN_ONE_FOLDER = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

scans = st.builds(
    Scan,
    qr_text=st.binary(max_size=700),
    verdict=st.sampled_from(Verdict),
    kind=st.text("abcdefghij-", min_size=1, max_size=16),
)
slot_scans = st.lists(scans, min_size=1, max_size=8)


def numbered(count: int, begin: int = 0) -> list[Scan]:
    return [Scan(b"%d" % (begin + number), Verdict.GREEN, "green") for number in range(count)]


def written(path: Path, *slots: Slot) -> CorpusFile:
    write_corpus(path, slots)
    return CorpusFile.open(path)


def one_slot(path: Path, scans: list[Scan]) -> CorpusFile:
    return written(path, Slot(scans, 0, _FOREVER))


@_IN_ONE_FOLDER
@given(of_keys=st.lists(st.lists(slot_scans, min_size=1, max_size=4), min_size=1, max_size=3))
def test_what_is_written_comes_back_in_its_slot(of_keys: list[list[list[Scan]]], tmp_path: Path) -> None:
    now = time.time()
    ends = [now + 30 * (number + 1) for number in range(4)]
    slots = [
        Slot(iter(scans), ends[number] - 30, ends[number], key)
        for key, of_key in enumerate(of_keys)
        for number, scans in enumerate(of_key)
    ]
    path = tmp_path / "corpus.bin"
    assert write_corpus(path, iter(slots)) == sum(len(one) for of_key in of_keys for one in of_key)
    corpus = CorpusFile.open(path)
    assert corpus.keys == len(of_keys)
    assert (corpus.good_from, corpus.good_until) == (ends[0] - 30, ends[min(map(len, of_keys)) - 1])
    for key, of_key in enumerate(of_keys):
        for number, expected in enumerate(of_key):
            for at in (ends[number] - 30, ends[number] - 0.001):
                assert [corpus[index] for index in corpus.at(at, key)] == expected
        with pytest.raises(CorpusTooOld):
            corpus.at(ends[len(of_key) - 1], key)
    corpus.close()


@_IN_ONE_FOLDER
@given(scans=slot_scans, data=st.data())
def test_a_corpus_that_was_cut_off_or_went_on_is_refused(
    scans: list[Scan], data: st.DataObject, tmp_path: Path
) -> None:
    path = tmp_path / "corpus.bin"
    one_slot(path, scans).close()
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content) - 1))
    for other in (content[:cut], content + b"\0", content + content[cut:]):
        path.write_bytes(other)
        with pytest.raises(NotACorpus):
            CorpusFile.open(path)


def test_a_changed_byte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "corpus.bin"
    scans = [Scan(b"text" * 3, Verdict.RED, "red"), Scan(b"more", Verdict.MALFORMED, "foreign")]
    one_slot(path, scans).close()
    content = path.read_bytes()
    for at, bit in itertools.product(range(len(content)), (0x01, 0x80)):
        path.write_bytes(content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :])
        with pytest.raises(NotACorpus):
            CorpusFile.open(path)


@_IN_ONE_FOLDER
@given(content=st.binary(max_size=200) | st.binary(max_size=200).map(lambda rest: b"GLCORPUS" + rest))
def test_a_foreign_file_is_refused_in_words(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "corpus.bin"
    path.write_bytes(content)
    with pytest.raises(NotACorpus, match="corpus"):
        CorpusFile.open(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(NotACorpus, match="cannot be read"):
            CorpusFile.open(path)


def test_a_corpus_of_the_past_is_refused_and_says_when_it_was_good(tmp_path: Path) -> None:
    path = tmp_path / "corpus.bin"
    write_corpus(path, [Slot(numbered(1), 0, time.time() - 1)])
    with pytest.raises(CorpusTooOld, match=r"good from 19.* make a new one"):
        CorpusFile.open(path)


def test_a_run_that_ends_after_the_corpus_is_refused(tmp_path: Path) -> None:
    now = time.time()
    corpus = written(tmp_path / "corpus.bin", Slot(numbered(1), now - 10, now + 60))
    corpus.require_good(now, now + 59)
    for begin, end in ((now, now + 60), (now - 11, now)):
        with pytest.raises(CorpusTooOld):
            corpus.require_good(begin, end)


def test_an_index_outside_is_an_error(tmp_path: Path) -> None:
    corpus = one_slot(tmp_path / "corpus.bin", numbered(3))
    assert len(corpus) == 3
    for index in (-1, 3):
        with pytest.raises(IndexError):
            corpus[index]


@pytest.mark.parametrize(
    "slots",
    [
        [],
        [Slot([], 0, 9)],
        [Slot(numbered(1), 9, 9)],
        [Slot(numbered(1), 0, 9), Slot(numbered(1), 10, 12)],
        [Slot(numbered(1), 0, 9, key=1)],
        [Slot([Scan(bytes(65_536), Verdict.GREEN, "green")], 0, 9)],
        [Slot([Scan(b"", Verdict.GREEN, "x" * 17)], 0, 9)],
        [Slot([Scan(b"", Verdict.GREEN, f"kind-{number}") for number in range(257)], 0, 9)],
    ],
)
def test_what_the_format_cannot_hold_is_not_written(slots: list[Slot], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected"):
        write_corpus(tmp_path / "corpus.bin", slots)
    assert not list(tmp_path.iterdir())


def test_a_corpus_is_not_for_others_to_read_whatever_was_there_before(tmp_path: Path) -> None:
    for name in ("corpus.bin", f".corpus.bin.{os.getpid()}"):
        (tmp_path / name).touch(mode=0o644)
    one_slot(tmp_path / "corpus.bin", numbered(1)).close()
    assert (tmp_path / "corpus.bin").stat().st_mode & 0o077 == 0


@_IN_ONE_FOLDER
@given(count=st.integers(1, 60), seed=st.integers(0, 2**32))
def test_a_walk_meets_every_scan_before_any_comes_again(count: int, seed: int, tmp_path: Path) -> None:
    corpus = one_slot(tmp_path / "corpus.bin", numbered(count))
    walk = Walk(corpus, seed)
    first, second = ([walk.next(1.0) for _ in range(count)] for _ in range(2))
    assert sorted(first) == sorted(numbered(count))
    assert second == first
    corpus.close()


def test_sites_walk_on_different_ways(tmp_path: Path) -> None:
    corpus = one_slot(tmp_path / "corpus.bin", numbered(1_000))

    def way(seed: int) -> tuple[bytes, ...]:
        walk = Walk(corpus, seed)
        return tuple(walk.next(1.0).qr_text for _ in range(3))

    assert len({way(seed) for seed in range(50)}) == 50
    assert way(7) == way(7)


def test_a_walk_goes_on_to_the_slot_and_the_key_of_the_hour(tmp_path: Path) -> None:
    slots = (
        Slot(numbered(3), 0, 10),
        Slot(numbered(3, begin=10), 10, _FOREVER),
        Slot(numbered(3, begin=20), 0, _FOREVER, key=1),
    )
    walk = Walk(written(tmp_path / "corpus.bin", *slots), seed=1)

    def shown(now: float, key: int = 0) -> set[int]:
        return {int(walk.next(now, key).qr_text) for _ in range(3)}

    assert shown(9.9) == {0, 1, 2}
    assert shown(10) == {10, 11, 12}
    assert shown(11, key=1) == {20, 21, 22}
    with pytest.raises(CorpusError):
        walk.next(_FOREVER)
    with pytest.raises(IndexError):
        walk.next(11, key=2)


def test_hostile_is_what_no_honest_person_shows() -> None:
    assert Scan(b"", Verdict.BAD_SIGNATURE, "forged").is_hostile
    assert not Scan(b"", Verdict.EXPIRED, "expired").is_hostile
