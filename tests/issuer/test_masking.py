import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from issuer.masking import mask_name
from verifier.wire.code import MAX_HINT_BYTES


@pytest.mark.parametrize(
    ("name", "masked"),
    [
        ("王小秀", "王*秀"),
        ("王秀", "王*"),
        ("秀", "*"),
        ("欧阳娜娜", "欧*娜"),
        ("阿依古丽·买买提", "阿*提"),
        ("Anna Schmidt", "A*a S*t"),
        ("  Anna   Schmidt ", "A*a S*t"),
        ("J. R. R. Tolkien", "J* R* R* T*n"),
        ("Li Na", "L* N*"),
        ("Jean-Luc", "J*c"),
        ("محمد علي", "م*د ع*ي"),
        ("e\u0301lise", "é*e"),  # composed
        ("n\u0302\u0323guy\u1ec5n", "ṇ̂*n"),  # one letter with two marks
        ("क्षत्रिय", "क्*य"),
        ("😀王", "*"),
        ("王😀", "王*"),
        ("王👨‍👩‍👧秀", "王*秀"),
        ("王小😀", "王*"),
        ("Z" + "\u0300" * 50 + "algo", "*o"),
        ("\u0301", "*"),
        ("", ""),
    ],
)
def test_names_are_masked(name: str, masked: str) -> None:
    assert mask_name(name) == masked


def test_a_long_name_ends_with_a_whole_word() -> None:
    masked = mask_name("Pablo Diego José Francisco de Paula Juan Nepomuceno María de los Remedios")
    assert masked == "P*o D*o J*é F*o d* P*a J*n N*o"
    assert len(masked.encode()) <= MAX_HINT_BYTES


@given(st.text(max_size=60))
def test_any_name_gives_a_hint_that_fits_a_code(name: str) -> None:
    masked = mask_name(name)
    assert len(masked.encode()) <= MAX_HINT_BYTES
    assert unicodedata.is_normalized("NFC", masked)


@given(st.text(st.characters(categories=["L"]), min_size=3, max_size=40))
def test_what_is_between_first_and_last_letter_is_hidden(name: str) -> None:
    shown = mask_name(name)
    assert shown.count("*") == 1
    assert len(shown) < len(unicodedata.normalize("NFC", name)) + 1
