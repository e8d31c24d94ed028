"""When scans are due."""

import itertools
import random
import statistics
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.arrivals import Profile, ProfileError, due_times

FLAT = Profile([(0, 1), (1, 1)])
# Calm, a ramp, a jump, a plateau, a stretch in which nobody comes, and back up from nothing.
MORNING = Profile([(0, 0.1), (0.2, 0.1), (0.3, 0.6), (0.3, 1), (0.5, 1), (0.6, 0), (0.7, 0), (1, 0.4)])

shares = st.one_of(st.just(0.0), st.floats(1e-3, 3))


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    """Profiles, among them some with jumps and with stretches without anybody."""
    inner = sorted(draw(st.lists(st.one_of(st.sampled_from([0.25, 0.5]), st.floats(0, 1)), max_size=6)))
    points = [(fraction, draw(shares)) for fraction in [0.0, *inner, 1.0]]
    try:
        return Profile(points)
    except ProfileError:  # nobody ever comes
        return FLAT


def area_until(profile: Profile, fraction: float) -> float:
    """Return the integral of the profile from 0 to `fraction`, without the code under test."""
    area = 0.0
    for (from_, share), (to, next_share) in itertools.pairwise(profile.points):
        length = min(to, fraction) - from_
        if length > 0:
            at_end = share + (next_share - share) * length / (to - from_)
            area += (share + at_end) / 2 * length
    return area


@given(
    profiles(),
    st.floats(0.1, 400),
    st.floats(0.5, 20),
    st.integers(0, 2**32),
    st.lists(st.floats(0, 1), min_size=2, max_size=10),
)
@settings(max_examples=60)
def test_even_arrivals_in_any_interval_are_the_integral_of_the_rate_within_one(
    profile: Profile, per_s: float, duration_s: float, seed: int, cuts: list[float]
) -> None:
    due = list(
        due_times(profile, per_s=per_s, duration_s=duration_s, process="even", rng=random.Random(seed))
    )

    for from_, to in itertools.combinations(sorted(cuts), 2):
        count = sum(from_ * duration_s <= at < to * duration_s for at in due)
        expected = (area_until(profile, to) - area_until(profile, from_)) * per_s * duration_s
        assert abs(count - expected) <= 1 + 1e-6


@given(profiles(), st.sampled_from(["even", "poisson"]), st.integers(0, 2**32))
@settings(max_examples=60)
def test_due_times_ascend_and_lie_within_the_run(profile: Profile, process: str, seed: int) -> None:
    due = list(due_times(profile, per_s=50, duration_s=10, process=process, rng=random.Random(seed)))

    assert due == sorted(due)
    assert all(0 <= at < 10 for at in due)


@pytest.mark.parametrize("sites", [1, 16])
def test_poisson_arrivals_of_any_number_of_sites_are_poisson(sites: int) -> None:
    rng = random.Random(5)
    counts = [0] * 3000
    for _ in range(sites):
        for at in due_times(FLAT, per_s=10 / sites, duration_s=3000, process="poisson", rng=rng):
            counts[int(at)] += 1

    # A mean of 10 +- 4 standard errors; (n - 1) variance / mean is chi-square with 2999 degrees: +- 4 too.
    assert statistics.mean(counts) == pytest.approx(10, abs=4 * (10 / 3000) ** 0.5)
    assert 2999 * statistics.variance(counts) / 10 == pytest.approx(2999, abs=4 * (2 * 2999) ** 0.5)


def test_poisson_arrivals_follow_the_profile() -> None:
    bins, per_s, duration_s = 100, 2000, 30
    counts = [0] * bins
    for at in due_times(MORNING, per_s=per_s, duration_s=duration_s, process="poisson", rng=random.Random(5)):
        counts[int(at / duration_s * bins)] += 1

    areas = [area_until(MORNING, n / bins) * per_s * duration_s for n in range(bins + 1)]
    expected = [after - before for before, after in itertools.pairwise(areas)]
    inhabited = [(count, area) for count, area in zip(counts, expected, strict=True) if area > 5]
    assert len(inhabited) >= 85
    assert all(count == 0 for count, area in zip(counts, expected, strict=True) if area < 1e-9)
    chi_square = sum((count - area) ** 2 / area for count, area in inhabited)
    assert chi_square < len(inhabited) + 4 * (2 * len(inhabited)) ** 0.5


def test_even_arrivals_of_many_sites_add_up_to_the_rate() -> None:
    rng = random.Random(5)
    due = [list(due_times(FLAT, per_s=400 / 16, duration_s=5, process="even", rng=rng)) for _ in range(16)]

    assert sum(map(len, due)) == pytest.approx(400 * 5, abs=16)
    # They don't all come at the same moments.
    assert len({times[0] for times in due}) == 16


def test_hours_of_even_arrivals_do_not_drift() -> None:
    saw = Profile([(n / 400, n % 2) for n in range(400)] + [(1.0, 0.0)])

    last = 0.0
    count = 0
    for at in due_times(saw, per_s=8, duration_s=10 * 3600, process="even", rng=random.Random(5)):
        last, count = at, count + 1

    expected = saw.area() * 8 * 36000
    assert abs(count - expected) <= 1
    assert 36000 - last < 10  # the rate falls to nothing at the end


def test_a_rate_of_nothing_has_no_arrivals() -> None:
    assert not list(due_times(FLAT, per_s=0, duration_s=10, process="poisson", rng=random.Random(5)))


@pytest.mark.parametrize(
    ("per_s", "duration_s", "process"),
    [(-1, 1, "even"), (float("nan"), 1, "even"), (1, 0, "even"), (1, float("inf"), "even"), (1, 1, "odd")],
)
def test_due_times_refuse_what_is_no_rate(per_s: float, duration_s: float, process: str) -> None:
    with pytest.raises(ValueError, match=r"no rate or no duration|even or poisson"):
        next(due_times(FLAT, per_s=per_s, duration_s=duration_s, process=process, rng=random.Random()))


def test_a_profile_is_linear_between_its_points_and_jumps_where_there_are_two() -> None:
    assert MORNING.rate_at(0.25) == pytest.approx(0.35)
    assert MORNING.rate_at(0.3 - 1e-12) == pytest.approx(0.6)
    assert MORNING.rate_at(0.3) == 1
    assert MORNING.rate_at(0.65) == 0
    assert [MORNING.rate_at(fraction) for fraction in (-1, 0, 1, 2)] == [0.1, 0.1, 0.4, 0.4]
    assert MORNING.area() == pytest.approx(0.02 + 0.035 + 0.2 + 0.05 + 0.06)


@pytest.mark.parametrize(
    "points",
    [
        [],
        [(0, 1)],
        [(0.1, 1), (1, 1)],
        [(0, 1), (0.9, 1)],
        [(0, 1), (0.6, 1), (0.5, 1), (1, 1)],
        [(0, -1), (1, 1)],
        [(0, float("nan")), (1, 1)],
        [(0, 1), (float("nan"), 1), (1, 1)],
        [(0, float("inf")), (1, 1)],
        [(0, 0), (1, 0)],
    ],
)
def test_a_profile_that_no_crowd_can_follow_is_refused(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ProfileError):
        Profile(points)


def test_a_real_day_is_scaled_to_the_run(tmp_path: Path) -> None:
    path = tmp_path / "day.csv"
    path.write_text("\ufefftime,scans\r\n06:00,200\r\n08:30:00,1000\r\n\r\n08:30,800\r\n16:00,0\r\n")

    assert Profile.from_csv(path).points == ((0, 0.2), (0.25, 1), (0.25, 0.8), (1, 0))


def test_a_day_may_be_counted_in_minutes(tmp_path: Path) -> None:
    path = tmp_path / "day.csv"
    path.write_text("time, scans\n0, 5\n30.5, 2.5\n61, 5\n")

    assert Profile.from_csv(path).points == ((0, 1), (0.5, 0.5), (1, 1))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: expected the head"),
        (b"08:00,1\n", "line 1: expected the head"),
        (b"time,scans\n08:00,1\n09:00\n", "line 3: expected a time and a number"),
        (b"time,scans\n08:00,1\n09:00,-2\n", "line 3: expected a number of scans"),
        (b"time,scans\n08:00,1\n09:00,nan\n", "line 3: expected a number of scans"),
        (b"time,scans\n08:00,1\n\n09:60,2\n", "line 4: expected a time as"),
        (b"time,scans\n08:00,1\n24:00:01,2\n", "line 3: a day ends"),
        (b"time,scans\n08:00,1\n07:59,2\n", "line 3: its time is before"),
        (b"time,scans\n08:00,1\n", "two moments"),
        (b"time,scans\n08:00,1\n08:00,2\n", "two moments"),
        (b"time,scans\n08:00,0\n09:00,0\n", "nobody ever comes"),
        (b"time,scans\n08:00,\xff\n", "line 2: not UTF-8"),
        (b'time,scans\n"08:00,1\n', "line 2: unexpected end"),
        (b"time,scans\n" + b"0,1\n" * 100_001, "more than 100000 rows"),
        (b"time,scans\n" + b" " * 4_000_000, "bytes"),
    ],
)
def test_what_is_no_day_is_refused_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "day.csv"
    path.write_bytes(content)

    with pytest.raises(ProfileError, match=message):
        Profile.from_csv(path)


def test_a_day_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="No such file"):
        Profile.from_csv(tmp_path / "day.csv")
