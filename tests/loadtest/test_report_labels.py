"""Names of moments above a plot can all be read, however close the moments are."""

from itertools import combinations, permutations

from hypothesis import given
from hypothesis import strategies as st

from loadtest.report.labels import Place, place

RIGHT = 400.0
# No two acts happen in the same moment, and what is drawn closer than this could not be told apart anyway.
moments = st.lists(st.floats(0, RIGHT).map(lambda x: round(x, 1)), max_size=8, unique=True).map(sorted)
widths = st.lists(st.floats(20, 150), min_size=8, max_size=8)


@given(moments, widths)
def test_no_name_covers_another_one(xs: list[float], of_names: list[float]) -> None:
    for one, other in combinations(place(xs, of_names[: len(xs)], RIGHT), 2):
        assert one.lane != other.lane or not one.overlaps(other)


@given(moments, widths)
def test_no_line_runs_through_a_name(xs: list[float], of_names: list[float]) -> None:
    for line, name in permutations(place(xs, of_names[: len(xs)], RIGHT), 2):
        assert not name.covers_line_of(line) or line.lane < name.lane


@given(moments, widths)
def test_no_name_leaves_the_plot_at_its_end(xs: list[float], of_names: list[float]) -> None:
    assert all(one.ends_x <= RIGHT for one in place(xs, of_names[: len(xs)], RIGHT))


def test_a_name_alone_stands_just_above_the_plot_at_the_right_of_its_line() -> None:
    assert place([100.0], [80.0], RIGHT) == [Place(100.0, 100.0, 180.0, 0)]


def test_a_name_at_the_end_stands_at_the_left_of_its_line() -> None:
    assert place([390.0], [80.0], RIGHT) == [Place(390.0, 310.0, 390.0, 0)]


def test_names_of_the_same_moment_stand_one_above_the_other() -> None:
    assert sorted(one.lane for one in place([100.0] * 3, [80.0] * 3, RIGHT)) == [0, 1, 2]
