"""Latencies: what the histogram says is what was recorded."""

import base64
import contextlib
import gc
import math
import weakref
import zlib

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.latency import PERCENTILES, Latencies, NotLatencies

samples = st.lists(st.one_of(st.floats(0, 0.03), st.floats(0, 300)), max_size=40)


def latencies_of(latencies_s: list[float], *, packed: bool = False) -> Latencies:
    latencies = Latencies()
    for latency_s in latencies_s:
        latencies.record(latency_s)
    if packed:
        latencies.pack()
    return latencies


@given(samples.filter(bool))
def test_percentiles_are_those_of_the_samples_within_10_us_or_a_thousandth(latencies_s: list[float]) -> None:
    latencies = latencies_of(latencies_s)

    ordered = sorted(latencies_s)
    for percentile in (*PERCENTILES, 100):
        exact_ms = ordered[math.ceil(round(percentile * len(ordered), 6) / 100) - 1] * 1000
        assert latencies.percentile_ms(percentile) == pytest.approx(exact_ms, abs=0.011, rel=0.001)
    assert latencies.max_ms == latencies.percentile_ms(100)
    assert latencies.count == len(latencies_s)


@given(samples, st.booleans())
def test_what_was_encoded_is_decoded_the_same(latencies_s: list[float], packed: bool) -> None:
    latencies = latencies_of(latencies_s, packed=packed)

    decoded = Latencies.decode(latencies.encode())

    assert decoded == latencies
    assert decoded.encode() == latencies.encode()
    assert decoded.count == latencies.count == len(latencies_s)
    assert decoded.percentiles_ms() == latencies.percentiles_ms()
    assert bool(decoded) == bool(latencies) == bool(latencies_s)


@given(st.tuples(samples, samples, samples), st.tuples(st.booleans(), st.booleans(), st.booleans()))
@settings(max_examples=50)
def test_merging_is_associative_and_is_recording_all_in_one(
    parts: tuple[list[float], ...], packed: tuple[bool, ...]
) -> None:
    def part(number: int) -> Latencies:
        return latencies_of(parts[number], packed=packed[number])

    left, right = part(0), part(1)
    left.add(part(1))
    left.add(part(2))
    right.add(part(2))
    all_ = part(0)
    all_.add(right)

    assert left == all_ == latencies_of([latency for samples in parts for latency in samples])


def test_a_percentile_of_few_is_not_exceeded_by_more_than_it_says() -> None:
    # 90 in 100 of 16 are 14.4: the 15th, not the 14th.
    assert latencies_of([number / 1000 for number in range(1, 17)]).percentile_ms(90) == pytest.approx(15)
    assert latencies_of([0.001] * 999 + [1]).percentile_ms(99.9) == pytest.approx(1)


def test_the_middle_of_a_thousand_percentiles_is_exact() -> None:
    # 99.9 * 1000 / 100 is above 999 in floating point.
    latencies = latencies_of([number / 100_000 for number in range(1, 1001)])

    assert latencies.percentile_ms(99.9) == pytest.approx(9.99)


def test_without_any_there_are_no_percentiles() -> None:
    latencies = Latencies()

    assert latencies.percentiles_ms() == dict.fromkeys(["p50", "p90", "p99", "p99.9", "p99.99", "max"])
    assert latencies.percentile_ms(50) is None
    assert latencies.max_ms is None
    assert (latencies.count, latencies.encode()) == (0, "")


def test_what_is_out_of_range_counts_as_its_end() -> None:
    latencies = latencies_of([-1, 0, 10_000])

    assert latencies.percentile_ms(50) == pytest.approx(0.01)
    assert latencies.max_ms == pytest.approx(300_000, rel=0.001)


def test_many_may_be_recorded_at_once() -> None:
    latencies = Latencies()
    latencies.record(0.002, count=99)
    latencies.record(0.5)

    assert latencies.count == 100
    assert latencies.percentile_ms(99) == pytest.approx(2)


def test_hdr_tools_read_the_encoded_form() -> None:
    latencies = latencies_of([0.001] * 99 + [2.5])

    histogram = HdrHistogram.decode(latencies.encode())

    assert histogram.get_total_count() == 100
    assert histogram.get_value_at_percentile(99) == 100  # units of 10 µs
    assert histogram.get_max_value() == pytest.approx(250_000, rel=0.001)


def test_looking_at_a_packed_one_leaves_it_packed() -> None:
    latencies = latencies_of([0.01], packed=True)

    assert latencies.percentiles_ms()["p50"] == pytest.approx(10)
    latencies.encode()
    Latencies().add(latencies)

    assert latencies._open is None


def test_a_packed_one_gives_its_memory_back_without_a_collection() -> None:
    gc.disable()
    try:
        latencies = latencies_of([0.01])
        histogram = weakref.ref(latencies._open)
        latencies.pack()
        assert histogram() is None
    finally:
        gc.enable()


def payload_of(latencies: Latencies) -> bytes:
    return zlib.decompress(base64.b64decode(latencies.encode())[8:])


def encoded(payload: bytes) -> str:
    compressed = zlib.compress(payload)
    return base64.b64encode(b"\x1c\x84\x93\x14" + len(compressed).to_bytes(4) + compressed).decode()


def test_every_changed_byte_is_refused_or_another_histogram() -> None:
    payload = payload_of(latencies_of([0.001, 0.02, 3]))
    assert Latencies.decode(encoded(payload)).count == 3

    for place in range(len(payload)):
        for value in (0, payload[place] ^ 1, 0x80, 0xFF):
            changed = payload[:place] + bytes([value]) + payload[place + 1 :]
            with contextlib.suppress(NotLatencies):
                Latencies.decode(encoded(changed)).percentiles_ms()


@given(st.text(max_size=60))
def test_what_is_no_histogram_is_refused(text: str) -> None:
    if text:
        with pytest.raises(NotLatencies):
            Latencies.decode(text)


def test_a_truncated_histogram_is_refused() -> None:
    whole = latencies_of([0.001, 0.02, 3]).encode()

    for length in range(1, len(whole)):
        with pytest.raises(NotLatencies):
            Latencies.decode(whole[:length])


def test_a_histogram_of_something_else_is_refused() -> None:
    histogram = HdrHistogram(1, 3_600_000, 2)
    histogram.record_value(5)

    with pytest.raises(NotLatencies):
        Latencies.decode(histogram.encode().decode())
    with pytest.raises(NotLatencies):
        Latencies.decode("A" * 1_000_000)
