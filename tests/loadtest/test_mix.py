"""What a crowd holds under the scanners, in words and in numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.mix import FLOOD, GATE, HOSTILE_KINDS, KINDS, MIXES, MixError, parse_mix, share_out

mixes = st.dictionaries(st.sampled_from(sorted(KINDS)), st.integers(0, 1_000), min_size=1).filter(
    lambda mix: any(mix.values())
)


def test_mixes_go_by_their_names() -> None:
    for name, mix in MIXES.items():
        assert parse_mix(name) is mix
        assert set(mix) <= set(KINDS)


def test_a_mix_is_read_as_it_is_written() -> None:
    assert parse_mix("green=94, expired=2,forged=4") == {"green": 94, "expired": 2, "forged": 4}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected gate, flood"),
        ("rush-hour", "expected gate, flood"),
        ("green=1,blue=2", "there is no kind 'blue'"),
        ("green=1,green=2", "twice"),
        ("green=-1", "whole numbers"),
        ("green=1.5", "whole numbers"),
        ("green=99999999999999999999", "whole numbers"),
        ("green=", "whole numbers"),
        ("green=0,red=0", "all parts are 0"),
    ],
)
def test_a_mix_that_makes_no_sense_is_refused_in_words(text: str, message: str) -> None:
    with pytest.raises(MixError, match=message):
        parse_mix(text)


@given(mix=mixes, count=st.integers(0, 5_000))
def test_shares_add_up_and_are_off_by_less_than_one(mix: dict[str, int], count: int) -> None:
    shares = share_out(mix, count)
    assert sum(shares.values()) == count
    total = sum(mix.values())
    assert all(abs(shares[kind] - count * parts / total) < 1 for kind, parts in mix.items())


def test_most_of_a_flood_is_hostile_and_hardly_anything_at_a_gate() -> None:
    for mix, least, most in ((FLOOD, 0.7, 0.9), (GATE, 0.01, 0.05)):
        hostile = sum(parts for kind, parts in mix.items() if kind in HOSTILE_KINDS)
        assert least <= hostile / sum(mix.values()) <= most
