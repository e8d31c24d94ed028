"""What a run was, in results.json."""

import contextlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.latency import Latencies
from loadtest.recording import (
    RESULTS_NAME,
    Ceiling,
    DoneAct,
    Generator,
    NotARecording,
    Plan,
    Recording,
    Second,
    ServerSample,
    ThresholdResult,
    WrongVerdict,
)

PLAN = Plan(
    scenario="steady",
    about="a calm morning",
    people_a_minute=60_000,
    duration_s=10,
    flavour="unary",
    arrivals="poisson",
    sites=16,
    max_in_flight=500,
    deadline_s=1.0,
    attempts=2,
)


@st.composite
def seconds(draw: st.DrawFn) -> Second:
    """Return any second."""
    second = Second(
        due=draw(st.integers(0, 10**9)),
        right=draw(st.integers(0, 3)),
        generator_cpu_s=draw(st.integers(0, 64)) / 4,  # whose sums are exact in any order
        verdicts=Counter(draw(st.dictionaries(st.sampled_from(["GREEN", "RED"]), st.integers(1, 9)))),
        errors=Counter(draw(st.dictionaries(st.just("UNAVAILABLE"), st.integers(1, 9)))),
    )
    for latency_s in draw(st.lists(st.floats(0, 300), max_size=3)):
        second.honest.record(latency_s)
    if draw(st.booleans()):
        second.hostile.record(0.5)
        second.pack()
    return second


def copy(second: Second) -> Second:
    return Second.from_json(second.to_json())


def a_recording() -> Recording:
    second = Second(due=2, sent=2, right=1, wrong=1, generator_cpu_s=0.25, verdicts=Counter(GREEN=2))
    second.honest.record(0.004)
    return Recording(
        plan=PLAN,
        began_at=1_700_000_000.5,
        seconds={1_700_000_000: second, 1_700_000_001: Second()},
        machine={"cores": "2"},
        generators=[Generator("worker-0", 0.4, 16)],
        wrong=[WrongVerdict("scan-1", "good", "GREEN", "EXPIRED")],
        acts=[DoneAct("freeze-redis", 1_700_000_001.0, 0.02, "no such process")],
        servers=[ServerSample("redis", 1_700_000_001.0, 3.5, 120.0, 40)],
        ceiling=Ceiling(9000.0, 1),
        thresholds=[ThresholdResult("recovered_s", 5, False, None, False)],
        limited_by="server: 3 scans had to wait",
    )


@given(seconds())
@settings(max_examples=50)
def test_a_second_comes_back_from_json_the_same(second: Second) -> None:
    assert Second.from_json(json.loads(json.dumps(second.to_json()))) == second


@given(seconds(), seconds(), seconds())
@settings(max_examples=30)
def test_adding_seconds_is_associative(first: Second, second: Second, third: Second) -> None:
    left, right = copy(first), copy(second)
    left.add(second)
    left.add(third)
    right.add(third)
    first.add(right)

    assert left == first


def test_a_recording_comes_back_from_its_file_the_same(tmp_path: Path) -> None:
    for recording in (a_recording(), Recording(PLAN, 0.0)):
        recording.write(tmp_path)
        assert Recording.read(tmp_path) == recording


def test_the_total_is_the_sum_but_for_those_under_way() -> None:
    recording = Recording(PLAN, 0.0)
    for at, in_flight in ((3, 5), (4, 9), (5, 2)):
        second = Second(due=10, in_flight=in_flight, verdicts=Counter(GREEN=10))
        second.honest.record(at / 1000, 10)
        recording.add_second(at, second)

    total = recording.total()

    assert (total.due, total.in_flight, total.verdicts["GREEN"], total.honest.count) == (30, 9, 30, 30)


def test_seconds_of_generators_add_up_in_any_order() -> None:
    recording = Recording(PLAN, 0.0)
    for at in (*range(40), *range(39, -1, -1), 7):
        second = Second(due=1)
        second.honest.record(0.001)
        recording.add_second(at, second)

    assert recording.seconds[7].due == recording.seconds[7].honest.count == 3
    assert recording.total().due == recording.total().honest.count == 81


def test_only_the_newest_seconds_keep_their_histograms_open() -> None:
    recording = Recording(PLAN, 0.0)
    for at in (*range(100), 3):
        second = Second()
        second.honest.record(0.001)
        recording.add_second(at, second)
    recording.total()
    for second in recording.seconds.values():
        second.honest.percentiles_ms()

    assert sum(second.honest._open is not None for second in recording.seconds.values()) <= 8


def test_what_is_added_is_not_changed_later() -> None:
    recording, second = Recording(PLAN, 0.0), Second(due=1)
    second.honest.record(0.001)
    recording.add_second(3, second)
    recording.add_second(3, second)

    assert (second.due, second.honest.count) == (1, 1)
    assert recording.seconds[3].honest.count == 2


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"null", b"{}", b'"x"', b"\xff", b"[" * 100_000, b'{"format": 2}', b'{"format": 1}'],
    ids=range(9),
)
def test_a_foreign_file_is_no_recording(tmp_path: Path, content: bytes) -> None:
    (tmp_path / RESULTS_NAME).write_bytes(content)

    with pytest.raises(NotARecording, match=RESULTS_NAME):
        Recording.read(tmp_path)


def test_a_truncated_file_is_no_recording(tmp_path: Path) -> None:
    a_recording().write(tmp_path)
    whole = (tmp_path / RESULTS_NAME).read_text()
    for length in range(0, len(whole), 7):
        (tmp_path / RESULTS_NAME).write_text(whole[:length])
        with pytest.raises(NotARecording):
            Recording.read(tmp_path)


def places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values in a JSON document."""
    if not isinstance(content, dict | list):
        return [path]
    inner = content.items() if isinstance(content, dict) else enumerate(content)
    found = [path] if path else []
    return found + [place for key, value in inner for place in places(value, (*path, key))]


@pytest.mark.parametrize("other", [None, True, "x", {}, [], {"x": 1}, [1], 1e400])
def test_whatever_stands_in_its_places_nothing_but_not_a_recording_is_raised(
    tmp_path: Path, other: object
) -> None:
    a_recording().write(tmp_path)
    whole = (tmp_path / RESULTS_NAME).read_text()
    for *way, key in places(json.loads(whole)):
        content = json.loads(whole)
        inner = content
        for step in way:
            inner = inner[step]
        inner[key] = other
        (tmp_path / RESULTS_NAME).write_text(json.dumps(content))
        with contextlib.suppress(NotARecording):
            Recording.read(tmp_path).total().honest.percentiles_ms()


def test_a_text_where_a_number_should_be_is_refused(tmp_path: Path) -> None:
    recording = a_recording()
    recording.plan = replace(PLAN, duration_s="60")  # type: ignore[arg-type]
    recording.write(tmp_path)

    with pytest.raises(NotARecording):
        Recording.read(tmp_path)


def test_no_file_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Recording.read(tmp_path)


def test_latencies_in_a_file_are_checked_when_it_is_read(tmp_path: Path) -> None:
    recording = a_recording()
    recording.seconds[1_700_000_000].honest = Latencies()
    recording.seconds[1_700_000_000].honest._packed = "AAAA"
    recording.write(tmp_path)

    with pytest.raises(NotARecording):
        Recording.read(tmp_path)
