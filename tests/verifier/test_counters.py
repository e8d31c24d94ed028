"""What a worker counts of its calls: buckets with their bounds, levels, trouble."""

import pytest

from verifier import counters as module
from verifier.counters import CALL_BOUNDS_S, CODE_AGE_BOUNDS_S, LEVELS, Counter, Counters, MethodPlace
from verifier.trouble import Trouble, to_number


@pytest.mark.parametrize("method", MethodPlace)
@pytest.mark.parametrize("bucket", range(len(CALL_BOUNDS_S)))
def test_a_call_is_counted_up_to_a_bound_and_not_behind_it(
    monkeypatch: pytest.MonkeyPatch, method: MethodPlace, bucket: int
) -> None:
    counters = Counters()
    bound_ns = round(CALL_BOUNDS_S[bucket] * 1e9)
    now_ns = 10**12
    monkeypatch.setattr(module, "_now_ns", lambda: now_ns)
    for took_ns in (bound_ns - 1, bound_ns, bound_ns + 1):
        counters.begin()
        counters.end(method, now_ns - took_ns)
    expected = [0] * (len(CALL_BOUNDS_S) + 1)
    expected[bucket], expected[bucket + 1] = 2, 1
    assert counters.call_buckets(method) == expected
    assert counters.call_sum_s(method) == pytest.approx(3 * CALL_BOUNDS_S[bucket])
    assert all(sum(counters.call_buckets(other)) == 0 for other in MethodPlace if other != method)
    assert counters.get(Counter.IN_FLIGHT) == 0


@pytest.mark.parametrize("bucket", range(len(CODE_AGE_BOUNDS_S)))
def test_a_code_is_as_old_as_a_bound_or_older(bucket: int) -> None:
    counters = Counters()
    for age_s in (CODE_AGE_BOUNDS_S[bucket] - 1, CODE_AGE_BOUNDS_S[bucket], CODE_AGE_BOUNDS_S[bucket] + 1):
        counters.code_age(age_s)
    expected = [0] * (len(CODE_AGE_BOUNDS_S) + 1)
    expected[bucket], expected[bucket + 1] = 2, 1
    assert counters.code_age_buckets() == expected


def test_a_call_that_is_dropped_leaves_no_trace() -> None:
    counters = Counters()
    counters.begin()
    assert counters.get(Counter.IN_FLIGHT) == 1
    counters.drop()
    assert not any(counters.row)


def test_places_do_not_overlap() -> None:
    calls = [place for method in MethodPlace for place in range(method, method + len(CALL_BOUNDS_S) + 2)]
    ages = range(module.CODE_AGE_AT, module.CODE_AGE_AT + len(CODE_AGE_BOUNDS_S) + 1)
    places = [*range(32), *Counter, *calls, *ages]
    assert len(places) == len(set(places))
    assert max(places) < module.ROW_WORDS


def test_trouble_lasts_since_it_was_first_said(monkeypatch: pytest.MonkeyPatch) -> None:
    counters = Counters()
    now_ms = 5_000
    monkeypatch.setattr(module, "_now_ns", lambda: now_ms * 1_000_000)
    counters.set_trouble(Counter.JOURNAL_TROUBLE, Trouble.DISK)
    now_ms = 9_000
    counters.set_trouble(Counter.JOURNAL_TROUBLE, Trouble.DISK_FULL)
    assert counters.get(Counter.JOURNAL_TROUBLE) == to_number(Trouble.DISK_FULL)
    assert counters.get(Counter.JOURNAL_TROUBLE_SINCE) == 5_000
    counters.set_trouble(Counter.JOURNAL_TROUBLE, None)
    assert counters.get(Counter.JOURNAL_TROUBLE) == 0
    counters.set_trouble(Counter.JOURNAL_TROUBLE, Trouble.DISK)
    assert counters.get(Counter.JOURNAL_TROUBLE_SINCE) == 9_000
    assert {Counter.JOURNAL_TROUBLE, Counter.ENTRIES_TROUBLE, Counter.IN_FLIGHT} <= set(LEVELS)
